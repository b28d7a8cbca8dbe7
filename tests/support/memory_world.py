"""A cluster in memory with one operator, a clock that stands still until told otherwise, and copies of moments.

Nothing here waits: a coroutine over an API server in memory never gives way, so it is run to its end.
"""

import copy
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from diptych_operator.defaults import Defaults
from diptych_operator.kinds import RAY_JOB, RAY_SERVICE, Manifest, Ref, ref_of
from diptych_operator.links import PLANNED
from diptych_operator.memory import Change, Memory
from diptych_operator.metrics import Metrics
from diptych_operator.plan import Delete
from diptych_operator.planning import plan
from diptych_operator.reconcile import Planner, Reconciler
from diptych_operator.store import Store
from diptych_operator.told import Told

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
MOST_ROUNDS = 300
HELD = frozenset({RAY_JOB, RAY_SERVICE})
"""KubeRay holds these until their pods are gone, once it has begun with them."""
DEFAULTS = Defaults(image="diptych:test")
Result = TypeVar("Result")
Found = dict[Ref, Manifest]


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything that is stored, at one time. Objects are never changed in place, so a copy of the table is enough."""

    objects: Found
    events: dict[str, Manifest]
    numbers: Any
    now: datetime


class Watchful(Metrics):
    """Counts nothing, and does not let a plan that raises pass: the log above has its traceback."""

    def __init__(self) -> None:
        """Make no figures: thousands of worlds would."""

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        assert outcome == "done", f"a reconcile of a {kind} ended as: {outcome}"

    def repaired(self, kind: str) -> None:
        """Count nothing."""

    def status(self, ref: Ref, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Count nothing."""

    def forget(self, ref: Ref) -> None:
        """Count nothing."""


class Recorded(Memory):
    """An API server in memory that calls `written` after each write of the operator."""

    written: Callable[[], None] = staticmethod(lambda: None)

    async def apply(self, manifest: Manifest) -> Manifest:
        found = await super().apply(manifest)
        self.written()
        return found

    async def delete(self, delete: Delete) -> None:
        found = self.objects.get(delete.ref)
        if found is None or delete.ref.kind not in HELD or not found.get("status"):
            await super().delete(delete)
        elif found["metadata"]["uid"] == delete.uid and "deletionTimestamp" not in found["metadata"]:
            metadata = found["metadata"] | {"deletionTimestamp": self._clock()}
            self.put({**found, "metadata": metadata}, "delete")
        self.written()

    async def write_status(self, ref: Ref, version: str, changes: dict[str, Any]) -> Manifest:
        found = await super().write_status(ref, version, changes)
        self.written()
        return found

    async def tell(self, event: Manifest) -> None:
        await super().tell(event)
        self.written()


@dataclass
class World:
    """One operator and what it sees. `crash` takes another operator, which knows only what is stored."""

    now: datetime = BEGIN
    planner: Planner = plan
    defaults: Defaults = DEFAULTS
    told: Told | None = None
    """What every gateway says; None where none is asked."""

    def __post_init__(self) -> None:
        self.memory = Recorded(self._hear, clock=lambda: f"{self.now:%Y-%m-%dT%H:%M:%SZ}")
        self._boot()

    @classmethod
    def at(cls, moment: Moment, planner: Planner = plan) -> Self:
        """Return a world as it was then, with an operator that has started since."""
        world = cls(moment.now, planner)
        world.memory.objects = dict(moment.objects)
        world.memory.events = dict(moment.events)
        world.memory._numbers = copy.copy(moment.numbers)
        world._boot()
        return world

    def moment(self) -> Moment:
        """Return everything that is stored now."""
        memory = self.memory
        return Moment(dict(memory.objects), dict(memory.events), copy.copy(memory._numbers), self.now)

    def crash(self) -> None:
        """Lose all that the operator knew, and start another one."""
        self._boot()

    def settle(self) -> None:
        """Let the operator work until there is nothing to do now. Raises AssertionError when it never ends."""
        for _ in range(MOST_ROUNDS):
            if not (ref := self._next()):
                return
            self._due.pop(ref, None)
            delay_s = run(self.reconciler.reconcile(ref))
            if delay_s is not None:
                self._due[ref] = self.now + timedelta(seconds=delay_s)
        raise AssertionError(f"it does not come to rest; the last writes: {self.memory.writes[-12:]}")

    def wait(self, seconds: float) -> None:
        """Let time pass, and the operator look again when it wanted to."""
        end = self.now + timedelta(seconds=seconds)
        self.settle()
        while (due := min(self._due.values(), default=end)) < end:
            self.now = max(due, self.now + timedelta(seconds=1))
            self.settle()
        self.now = end
        self.settle()

    def user_puts(self, manifest: Manifest) -> None:
        """Create an object as a user does, or change it: the generation counts changes of the spec."""
        ref = ref_of(manifest)
        known = self.memory.objects.get(ref)
        metadata = {**(known or {}).get("metadata", {}), **manifest["metadata"]}
        if known is None:
            number = next(self.memory._numbers)
            metadata |= {"uid": f"uid-{number}", "creationTimestamp": f"{self.now:%Y-%m-%dT%H:%M:%SZ}"}
        if known is None or known.get("spec") != manifest.get("spec"):
            metadata["generation"] = metadata.get("generation", 0) + 1
        status = {"status": known["status"]} if known and "status" in known else {}
        self.memory.put({**status, **manifest, "metadata": metadata})

    def _boot(self) -> None:
        self._woken: dict[Ref, None] = {}
        self._due: dict[Ref, datetime] = {}
        self.store = Store(lambda ref: self._woken.update({ref: None}))
        self.reconciler = Reconciler(
            cluster=self.memory,
            store=self.store,
            planner=self.planner,
            defaults=self.defaults,
            clock=lambda: self.now,
            may_write=lambda: True,
            metrics=Watchful(),
            told=lambda _: self.told,
        )
        for found in self.memory.objects.values():
            self.store.put(found)
        for kind in PLANNED:
            for ref in self.store.refs(kind):
                self._woken.setdefault(ref)

    def _next(self) -> Ref | None:
        for ref, due in sorted(self._due.items()):
            if due <= self.now:
                self._woken.setdefault(ref)
        if not self._woken:
            return None
        ref = next(iter(self._woken))
        del self._woken[ref]
        return ref

    def _hear(self, change: Change) -> None:
        verb, found = change
        if verb == "DELETED":
            self.store.remove(ref_of(found), found["metadata"]["uid"])
        else:
            self.store.put(found)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise AssertionError("a coroutine over memory waited")
