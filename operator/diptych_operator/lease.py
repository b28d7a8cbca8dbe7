"""One writer: a Lease of coordination.k8s.io, as client-go's leader election takes it.

Whether another holder is gone is judged by our own clock: how long its record did not change. Whether we still hold it
is judged by a monotonic deadline from before the last renewal, so that a hung request or a stopped process finds itself
without it. A Lease cannot fence a write in flight: statuses carry a resourceVersion and deletes a uid.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog

from diptych_operator.cluster import Conflict, Refused, Unreachable
from diptych_operator.kinds import LEASE, Manifest, Ref

_log = structlog.get_logger()
RENEWALS: Final = 3
"""Renewals within the time that a Lease lasts."""


class Leases(Protocol):
    """Where the Lease is kept."""

    async def get(self, ref: Ref) -> Manifest | None:
        """Return an object."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Make an object. Raises Conflict."""

    async def replace(self, manifest: Manifest) -> Manifest:
        """Write an object. Raises Conflict."""


@dataclass
class Lease:
    """Our claim to be the one that writes."""

    leases: Leases
    ref: Ref
    identity: str
    seconds: int
    clock: Callable[[], float] = time.monotonic
    _deadline: float = 0.0
    _ours: Manifest | None = None
    """The record as we last wrote it."""
    _seen: tuple[str, float] = field(default=("", 0.0))
    """The other holder's record, and when it was first seen so."""

    def is_held(self) -> bool:
        """Whether nobody else may have taken it yet."""
        return self.clock() < self._deadline

    async def acquire(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Wait until it is ours. `tell` hears why it may not be read or written; an empty text while it may."""
        while not await self._try_telling(tell):  # noqa: ASYNC110 - others decide
            await asyncio.sleep(self.seconds / RENEWALS)

    async def _try_telling(self, tell: Callable[[str], None]) -> bool:
        try:
            ours = await self._try()
        except Refused as error:
            tell(error.message)
            return False
        tell("")
        return ours

    async def keep(self) -> None:
        """Renew it, again and again; return when it is lost.

        A refusal is waited out: an API server that starts refuses everybody until it has read its roles.
        """
        while self.is_held():
            await asyncio.sleep(self.seconds / RENEWALS)
            try:
                await self._try()
            except Refused as error:
                _log.warning("lease not renewed", error=error.message, identity=self.identity)

    async def release(self) -> None:
        """Let the next one have it at once."""
        held, self._deadline, self._ours = self.is_held(), 0.0, None
        if not held:
            return
        with suppress(Conflict, Unreachable, Refused):
            found = await self.leases.get(self.ref)
            if found is not None and found["spec"].get("holderIdentity") == self.identity:
                await self.leases.replace({**found, "spec": {**found["spec"], "holderIdentity": ""}})

    async def _try(self) -> bool:
        began = self.clock()
        try:
            async with asyncio.timeout(self.seconds / 2):
                ours = await self._write()
        except (Conflict, Unreachable, TimeoutError) as error:
            self._ours = None
            _log.info("lease not renewed", error=str(error), identity=self.identity)
            return False
        if ours:
            self._deadline = began + self.seconds
        return ours

    async def _write(self) -> bool:
        found = self._ours or await self.leases.get(self.ref)
        if found is None:
            self._ours = await self.leases.create(self._record(None))
            return True
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self.identity) and not self._is_over(spec):
            return False
        self._ours = await self.leases.replace(self._record(found))
        return True

    def _is_over(self, spec: dict[str, Any]) -> bool:
        """Whether the holder's record stood still for as long as it claimed to last."""
        record = f"{spec.get('holderIdentity')} {spec.get('renewTime')} {spec.get('leaseTransitions')}"
        if record != self._seen[0]:
            self._seen = (record, self.clock())
        return self.clock() - self._seen[1] > int(spec.get("leaseDurationSeconds") or self.seconds)

    def _record(self, found: Manifest | None) -> Manifest:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        spec = dict((found or {}).get("spec") or {})
        if spec.get("holderIdentity") != self.identity:
            spec |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= {"holderIdentity": self.identity, "leaseDurationSeconds": self.seconds, "renewTime": now}
        head = {"apiVersion": LEASE.api_version, "kind": LEASE.kind}
        metadata = (found or {}).get("metadata") or {"name": self.ref.name, "namespace": self.ref.namespace}
        return {**head, "metadata": metadata, "spec": spec}
