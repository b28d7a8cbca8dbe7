"""Observe, plan, act, write the status: one resource at a time, from the state of the world and never from an event."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import structlog
from pydantic import ValidationError
from structlog.contextvars import bind_contextvars, clear_contextvars

from diptych_operator.changes import merge_patch
from diptych_operator.cluster import Cluster, Conflict, Refused, Unreachable
from diptych_operator.defaults import Defaults
from diptych_operator.events import event
from diptych_operator.kinds import Manifest, Ref
from diptych_operator.metrics import Metrics
from diptych_operator.observe import Seen, observe
from diptych_operator.plan import Action, Apply, Plan
from diptych_operator.status_values import status_values, unreadable_status, without_empty
from diptych_operator.store import Store
from diptych_operator.told import Told

FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 60.0
REFUSED_RETRY_S: Final = 30.0
_log = structlog.get_logger()


class Planner(Protocol):
    """Makes a plan of what is seen."""

    def __call__(self, seen: Seen, defaults: Defaults, now: datetime, /) -> Plan | None:
        """Return the plan; None when the resource is somebody else's."""


class NotLeading(Exception):  # noqa: N818 - it says what is the case
    """Another replica may write now."""


@dataclass
class Reconciler:
    """Brings resources to what their specs say. It keeps nothing that a restart would miss."""

    cluster: Cluster
    store: Store
    planner: Planner
    defaults: Defaults
    clock: Callable[[], datetime]
    may_write: Callable[[], bool]
    metrics: Metrics
    told: Callable[[Ref], Told | None] = lambda _: None
    """What the gateway of a deployment says; None where gateways are not asked."""
    _failures: dict[Ref, int] = field(default_factory=dict)
    _refusals: dict[Ref, str] = field(default_factory=dict)

    async def reconcile(self, ref: Ref) -> float | None:
        """Plan one resource and carry the plan out; return the seconds after which to look again.

        Raises:
            NotLeading: when this process may not write any more.

        """
        began = time.monotonic()
        clear_contextvars()  # of the worker's last resource
        bind_contextvars(kind=ref.kind.kind, namespace=ref.namespace, name=ref.name)
        outcome, seen = "done", self.store.version(ref)
        try:
            delay_s = await self._reconcile(ref)
        except Conflict as error:
            outcome, delay_s = "conflict", 0.0
            await self._read_again(ref)
            if self.store.version(ref) == seen:  # as of an object whose namespace is gone
                delay_s = self._backoff(ref)
                _log.warning("a conflict without a change", error=error.message, retry_s=delay_s)
        except Unreachable as error:
            outcome, delay_s = "unreachable", self._backoff(ref)
            _log.warning("api server unreachable", error=error.message, retry_s=delay_s)
        except Refused as error:
            outcome, delay_s = "refused", self._backoff(ref)
            _log.warning("refused by the api server", error=error.message, retry_s=delay_s)
        except NotLeading:
            raise
        except Exception:  # noqa: BLE001 - a bug in one plan stops no other
            outcome, delay_s = "bug", self._backoff(ref)
            _log.exception("reconcile failed", retry_s=delay_s)
        else:
            self._failures.pop(ref, None)
        self.metrics.reconciled(ref.kind.kind, outcome, time.monotonic() - began)
        return delay_s

    async def _reconcile(self, ref: Ref) -> float | None:
        found = self.store.get(ref)
        if found is None or "deletionTimestamp" in found["metadata"]:
            self._forget(ref)
            return None
        bind_contextvars(uid=found["metadata"]["uid"], generation=found["metadata"].get("generation"))
        refused = self._refusals.get(ref, "")
        try:
            seen = observe(self.store, ref, refused, self.told(ref))
        except ValidationError as error:
            await self._write_status(ref, found, unreadable_status(found, error, self.clock()))
            return None
        plan = None if seen is None else self.planner(seen, self.defaults, self.clock())
        if plan is None:
            return None
        if refusal := await self._carry_out(plan.actions):
            self._refusals[ref] = refusal  # the next plan tells it; this one's status says what did not come to be
            return REFUSED_RETRY_S if refused else 0.0
        if plan.actions:
            self._refusals.pop(ref, None)
        await self._tell(ref, found, plan)
        await self._write_status(ref, found, status_values(plan.status))
        return plan.requeue_s

    async def _carry_out(self, actions: Sequence[Action]) -> str:
        """Act in order; return what the API server said when it refused one, and stop there."""
        try:
            for action in actions:
                await self._act(action)
        except Refused as error:
            _log.warning("refused by the api server", error=error.message)
            return error.message
        return ""

    async def _act(self, action: Action) -> None:
        self._check_leading()
        if isinstance(action, Apply):
            self.store.put(await self.cluster.apply(action.manifest))
            if action.repairs:
                self.metrics.repaired(action.manifest["kind"])
        else:
            await self.cluster.delete(action)
            self.store.deleting(action.ref, action.uid)

    async def _tell(self, ref: Ref, found: Manifest, plan: Plan) -> None:
        for note in plan.notes:
            self._check_leading()
            await self.cluster.tell(event(note, ref, found["metadata"]["uid"], self.clock()))
            _log.info("told", reason=note.reason)

    async def _write_status(self, ref: Ref, found: Manifest, wanted: dict[str, Any]) -> None:
        changes = merge_patch(without_empty(found.get("status") or {}), wanted)
        if changes:
            self._check_leading()
            self.store.put(await self.cluster.write_status(ref, found["metadata"]["resourceVersion"], changes))
        self.metrics.status(ref, found.get("status") or {}, wanted)

    def _check_leading(self) -> None:
        if not self.may_write():
            raise NotLeading

    async def _read_again(self, ref: Ref) -> None:
        """Take the newest version in: the watch may be behind."""
        try:
            newest = await self.cluster.get(ref)
        except (Unreachable, Refused):
            return
        if newest is not None:
            self.store.put(newest)
        elif (known := self.store.get(ref)) is not None:
            self.store.remove(ref, known["metadata"]["uid"])

    def _backoff(self, ref: Ref) -> float:
        self._failures[ref] = failures = self._failures.get(ref, 0) + 1
        return float(min(FIRST_RETRY_S * 2 ** min(failures - 1, 10), LONGEST_RETRY_S))

    def _forget(self, ref: Ref) -> None:
        self._failures.pop(ref, None)
        self._refusals.pop(ref, None)
        self.metrics.forget(ref)
