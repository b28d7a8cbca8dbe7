"""The operator's program: connect, lead, watch, reconcile; and stop when told to or when the Lease is lost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from diptych_api.errors import RunFailed
from diptych_operator.cluster import Refused, Unreachable
from diptych_operator.defaults import Defaults
from diptych_operator.gateways import Gateways
from diptych_operator.kinds import FINE_TUNE_JOB, LEASE, Ref
from diptych_operator.kube import Kube, connect, pauses, wait_for_answer
from diptych_operator.lease import Lease
from diptych_operator.links import PLANNED
from diptych_operator.metrics import Metrics
from diptych_operator.planning import plan
from diptych_operator.prerequisites import missing, undiscovered
from diptych_operator.queue import Queue
from diptych_operator.reconcile import NotLeading, Reconciler
from diptych_operator.settings import Settings
from diptych_operator.store import Store
from diptych_operator.syncing import Syncing
from diptych_operator.watching import Ears, watch, watches
from diptych_operator.web import answering

LOOK_S: Final = 0.1
DEAF_S: Final = 120.0
"""How long kopf may take to ask for the last of the kinds that it is to watch."""
SILENT_S: Final = 120.0
"""The watch of our Lease is dead when it is quiet for longer: kopf starts a quiet watch anew after 70 seconds."""
_log = structlog.get_logger()


def now() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


class Operator:
    """One process of the operator."""

    def __init__(self, settings: Settings, kube: Kube, metrics: Metrics) -> None:
        self.settings, self.kube, self.metrics = settings, kube, metrics
        self.trouble = "starting"
        """Why it does not work yet; empty while it does."""
        ref = Ref(LEASE, settings.lease_namespace, settings.lease_name)
        self.lease = Lease(kube, ref, settings.identity, settings.lease_seconds)
        self.queue: Queue[Ref] = Queue(metrics.queue_wait.observe)
        self.store = Store(self.queue.add)
        watched_namespaces = settings.watch_namespaces or [settings.lease_namespace]
        heartbeat = settings.lease_name if settings.lease_namespace in watched_namespaces else ""
        self.watched = watches(gateway_api=settings.gateway_api, heartbeat=heartbeat)
        self.syncing = Syncing(kube, self.store, self.watched, settings.resync_seconds)
        self.ears = Ears(self.store, self.syncing.suspect, kube.get)
        self.gateways = Gateways(self.store, settings.gateway_url, self.queue.add)
        self.reconciler = Reconciler(
            cluster=kube,
            store=self.store,
            planner=plan,
            defaults=defaults_of(settings),
            clock=now,
            may_write=self.lease.is_held,
            metrics=metrics,
            told=self.gateways.told,
        )
        metrics.queue_depth.set_function(lambda: len(self.queue))
        metrics.leader.set_function(self.lease.is_held)
        metrics.watch_age.labels(LEASE.kind).set_function(self._quiet_s)

    def silence(self) -> str:
        """Return what is wrong with the process itself; empty while it works or waits for its turn."""
        quiet_s = self._quiet_s()
        return f"the watches are silent for {quiet_s:.0f} s" if quiet_s > SILENT_S else ""

    def _quiet_s(self) -> float:
        """Return how long the watch of our Lease was not heard; 0 before it is watched."""
        heard = self.ears.heard.get(LEASE)
        return time.monotonic() - heard if heard is not None else 0.0

    def unready(self) -> str:
        """Return why nothing is reconciled; empty while everything is, or while another replica does it."""
        return self.trouble or self.silence()

    async def run(self, stop: asyncio.Event, listen: Callable[[], None] = lambda: None) -> bool:
        """Work until `stop` is set; return whether it was. False: the Lease or a watch was lost, start again."""
        if not await _unless(stop, self._until_possible()):
            return True
        _log.info("waiting for the lease", lease=str(self.lease.ref), identity=self.lease.identity)
        if not await _unless(stop, self.lease.acquire(self._tell)):
            return True
        _log.info("leading", identity=self.lease.identity)
        ended = asyncio.Event()
        parts = [self.lease.keep(), self._watch(ended, listen), self._work(), stop.wait()]
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    _log.error("a part of the operator failed", error=repr(error))
        finally:
            ended.set()
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.lease.release()
        return stop.is_set()

    async def _watch(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        namespaces = self.settings.watch_namespaces
        await watch(self.ears, self.watched, self.kube.configuration, namespaces, stop, started)

    async def _work(self) -> None:
        """Reconcile everything once the store is full. Never returns."""
        self.trouble = "reading what is there"
        began = time.monotonic()
        await self.syncing.fill()
        await self._until_watched()
        self.trouble = ""
        for kind in PLANNED:
            for ref in self.store.refs(kind):
                self.queue.add(ref)
        _log.info("synced", seconds=round(time.monotonic() - began, 3), resources=len(self.queue))
        workers = [self._worker() for _ in range(self.settings.concurrency)]
        await asyncio.gather(self.syncing.keep(), self.gateways.keep(), *workers)

    async def _until_watched(self, patience_s: float = DEAF_S) -> None:
        """Wait until kopf has asked for every kind. Raises RunFailed: what nobody watches would stay unheard."""
        deadline = time.monotonic() + patience_s
        while deaf := [str(watch.kind.kind) for watch in self.watched if self.ears.is_deaf_for(watch.kind)]:
            if time.monotonic() > deadline:
                raise RunFailed(f"Nobody watches {', '.join(deaf)}.")
            await asyncio.sleep(LOOK_S)

    async def _worker(self) -> None:
        while True:
            await asyncio.sleep(0)  # nothing else waits where nothing is to be written: the Lease must have its turn
            ref = await self.queue.get()
            try:
                delay_s = await self.reconciler.reconcile(ref)
            except NotLeading:
                _log.error("the lease was lost before a write", identity=self.lease.identity)
                raise
            finally:
                self.queue.done(ref)
            if delay_s is not None:
                self.queue.add_after(ref, delay_s)

    async def _until_possible(self) -> None:
        """Wait for the API server, for rights and for KubeRay, telling what is missing."""
        await wait_for_answer(self.kube, FINE_TUNE_JOB, self._tell)
        for pause_s in pauses():
            self._tell(lacking := await self._lacking())
            if not lacking:
                return
            await asyncio.sleep(pause_s)

    async def _lacking(self) -> str:
        try:
            return await missing(self.kube) or await undiscovered(self.kube, (watch.kind for watch in self.watched))
        except (Unreachable, Refused) as error:
            return error.message

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            _log.warning("cannot work yet", reason=trouble)
        self.trouble = trouble


async def _unless(stop: asyncio.Event, work: Awaitable[None]) -> bool:
    """Do some work unless `stop` is set first; return whether it was done."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        return task.done()
    finally:
        for waiting in (task, stopped):
            waiting.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await waiting


def defaults_of(settings: Settings) -> Defaults:
    """Return what the settings decide for children."""
    return Defaults(**{name: getattr(settings, name) for name in Defaults.__slots__})


async def run(
    settings: Settings,
    stop: asyncio.Event,
    *,
    kubeconfig: Path | None = None,
    started: Callable[[int], None] = lambda _: None,
    listen: Callable[[], None] = lambda: None,
) -> bool:
    """Run the operator until `stop` is set; return whether it was.

    `started` hears the port of /metrics. `listen` is called when kopf has taken the signals that set `stop`.

    Raises:
        DiptychError: when there is no way to an API server.

    """
    metrics = Metrics()
    configuration = await connect(kubeconfig)
    kube = Kube(
        configuration,
        namespaces=tuple(settings.watch_namespaces),
        timeout_s=settings.request_timeout_s,
        on_request=metrics.requested,
    )
    operator = Operator(settings, kube, metrics)
    try:
        async with answering(settings.port, metrics, alive=operator.silence, ready=operator.unready) as port:
            started(port)
            return await operator.run(stop, listen)
    finally:
        await kube.close()
