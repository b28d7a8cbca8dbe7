"""The engine as a Ray Serve deployment: one base on one device, its adapters as the registry wants them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from ray import serve
from ray.serve.handle import DeploymentHandle

from diptych_api.servingconfig import ServingConfig
from diptych_api.wire import from_wire
from diptych_diffusion.cache_folder import cache_folder
from diptych_diffusion.loading import loading
from diptych_serving.degrade import Degraded
from diptych_serving.image_request import Event, ImageRequest
from diptych_serving.ray_metrics import EngineMetrics
from diptych_serving.replica_facts import ReplicaFacts
from diptych_serving.scaling import WORK_LEFT
from diptych_serving.starting import reason_of

REPORT_EVERY_S: Final = 2.0
TELL_S: Final = 1.0
STARTING: Final = "the start of an engine"


class EngineReplica:
    """Draws requests one by one for its callers, all of them together in its engine."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, values: dict[str, Any], registry: DeploymentHandle[Any]
    ) -> None:
        self.replica = serve.get_replica_context().replica_id.unique_id
        self.version = ""
        self._registry = registry
        self._tasks: list[asyncio.Future[None]] = []
        try:
            with loading():
                from diptych_serving.engine_start import build_drawer  # noqa: PLC0415 - only engines need torch
            config = from_wire(ServingConfig, values)
            self.drawer, self.base, self.start = build_drawer(config, cache_folder())
        except Exception as error:
            await self._tell(registry.note, STARTING, reason_of(error))
            raise
        await self._tell(registry.note, STARTING, "")
        self.engine, self.keeper = self.drawer.engine, self.drawer.keeper
        self.engine.__enter__()
        self._tasks = [asyncio.ensure_future(self._follow()), asyncio.ensure_future(self._report())]

    async def draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
        """Yield what happens to a request, last of it Finished or Failed."""
        async for event in self.drawer.draw(request):
            yield event

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the work that is left, for the autoscaling policy."""
        return {WORK_LEFT: self.drawer.backlog.work_left}

    async def check_health(self) -> None:
        """Raise when the engine's thread has ended or its device is broken: Ray Serve then starts another replica."""
        if (problem := self.engine.problem) is not None:
            raise RuntimeError(problem)

    async def __del__(self) -> None:
        """Finish what was taken in, if it ever started."""
        if not self._tasks:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self.engine.close)
        await self._tell(self._registry.leave, self.replica)

    async def _tell(self, method: DeploymentHandle[Any], *texts: str) -> None:
        """Tell the registry, if it is there: it forgets the quiet by itself."""
        with suppress(Exception):
            async with asyncio.timeout(TELL_S):
                await method.remote(*texts)

    async def _follow(self) -> None:
        """Bring the adapters to what the registry wants, for ever; while it is away, go on with what is there."""
        while True:
            try:
                newer = await self._registry.newer.remote(self.version)
            except Exception:  # noqa: BLE001 -- it comes back
                await asyncio.sleep(REPORT_EVERY_S)
                continue
            if newer is not None:
                version, config = newer
                self.drawer.limits, self.engine.decoder.safety = config.limits, config.safety
                await self.keeper.follow(config.adapters)
                self.version = version

    async def _report(self) -> None:
        metrics = EngineMetrics()
        while True:
            metrics.take(self.engine.rows, self.engine.waiting)
            with suppress(Exception):
                await self._registry.report.remote(self._facts())
            await asyncio.sleep(REPORT_EVERY_S)

    def _facts(self) -> ReplicaFacts:
        keeper, engine = self.keeper, self.engine
        return ReplicaFacts(self.replica, self.base, keeper.facts, self.version, engine.max_rows, self.start)
