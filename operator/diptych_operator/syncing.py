"""Keeps the store true: waits until it is full, and looks for what the watches did not tell."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from diptych_operator.cluster import Refused, Unreachable
from diptych_operator.kinds import EVENT, LEASE, Kind, Ref
from diptych_operator.kube import Kube
from diptych_operator.store import Store
from diptych_operator.version import Version
from diptych_operator.watching import Watch

PAUSE_S: Final = 0.1
PATIENCE_S: Final = 20.0
"""How long a watch may need from one object of a list to the next."""
_log = structlog.get_logger()


class Syncing:
    """Compares the store with lists of names and versions, which are small, and reads what differs."""

    def __init__(self, kube: Kube, store: Store, watched: Sequence[Watch], every_s: float) -> None:
        self._kube, self._store, self._every_s = kube, store, every_s
        self._watched = {watch.kind: watch for watch in watched if watch.kind not in (EVENT, LEASE)}
        self._suspected: set[Kind] = set()
        self._suspicion = asyncio.Event()

    def suspect(self, kind: Kind) -> None:
        """Ask for a look at a kind soon: it was listed anew, so deletions may have been missed."""
        if kind in self._watched:
            self._suspected.add(kind)
            self._suspicion.set()

    async def fill(self) -> None:
        """Wait until the store has everything that is there, as far as the watches tell; read the rest."""
        for watch in self._watched.values():
            while True:
                try:
                    await self._until_known(watch)
                except Unreachable as error:
                    _log.warning("api server unreachable", error=error.message)
                    await asyncio.sleep(1)
                else:
                    break

    async def keep(self) -> None:
        """Look again every so often, and soon after a suspicion. Never returns."""
        due = time.monotonic() + self._every_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(due - time.monotonic(), 0)):
                    await self._suspicion.wait()
            if time.monotonic() >= due:  # also while one suspicion follows the other
                self._suspected |= set(self._watched)
                due = time.monotonic() + self._every_s
            self._suspicion.clear()
            await asyncio.sleep(PAUSE_S)  # a new list tells of many objects at once
            kinds, self._suspected = self._suspected, set()
            for kind in kinds:
                await self._compare_safely(self._watched[kind])

    async def _compare_safely(self, watch: Watch) -> None:
        try:
            await self.compare(watch)
        except (Unreachable, Refused) as error:
            _log.warning("could not compare with the api server", kind=watch.kind.kind, error=error.message)
            if isinstance(error, Unreachable):
                await asyncio.sleep(1)
                self.suspect(watch.kind)

    async def compare(self, watch: Watch) -> None:
        """Drop what vanished and read what is newer than what the store has."""
        known_before = self._store.versions(watch.kind)
        listed = await self._kube.versions(watch.kind, labels=watch.labels, fields=watch.fields)
        gone = [ref for ref in known_before if ref not in listed]
        for ref in gone:
            self._store.remove(ref, known_before[ref].uid)
        missed = [ref for ref, version in listed.items() if self._is_behind(ref, version)]
        for ref in missed:
            if (found := await self._kube.get(ref)) is not None:
                self._store.put(found)
        if gone or missed:
            _log.info("watch had missed changes", kind=watch.kind.kind, gone=len(gone), missed=len(missed))

    async def _until_known(self, watch: Watch) -> None:
        """Wait for one object after the other: the watch tells of them in the order of the list."""
        listed = await self._kube.versions(watch.kind, labels=watch.labels, fields=watch.fields)
        for ref, version in listed.items():
            deadline = time.monotonic() + PATIENCE_S
            while self._is_behind(ref, version):
                if time.monotonic() > deadline:
                    await self.compare(watch)
                    return
                await asyncio.sleep(PAUSE_S)

    def _is_behind(self, ref: Ref, listed: Version) -> bool:
        known = self._store.version(ref)
        return known is None or known.number < listed.number
