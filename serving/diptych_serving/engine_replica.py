"""The engine as a Ray Serve deployment: one base on one device, its adapters as the registry wants them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch
from ray import serve
from ray.serve.handle import DeploymentHandle

from diptych_api.servingconfig import ServingConfig
from diptych_api.wire import from_wire
from diptych_diffusion.pipeline import load, resolve_base
from diptych_diffusion.safety_checker import load_safety_checker
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.adapter_source import fetch_adapter
from diptych_serving.degrade import Degraded
from diptych_serving.devices import choose_device, choose_dtype, name_of
from diptych_serving.drawer import Drawer
from diptych_serving.engine import Engine
from diptych_serving.image_request import Event, ImageRequest
from diptych_serving.ray_metrics import EngineMetrics
from diptych_serving.replica_facts import ReplicaFacts, base_facts
from diptych_serving.scaling import WORK_LEFT

CACHE: Final = Path("~/.cache/diptych")
REPORT_EVERY_S: Final = 2.0
GOODBYE_S: Final = 1.0
DEFAULT_ROWS: Final = {"cpu": 8, "mps": 8, "cuda": 32}


class EngineReplica:
    """Draws requests one by one for its callers, all of them together in its engine."""

    def __init__(self, values: dict[str, Any], registry: DeploymentHandle[Any]) -> None:
        config = from_wire(ServingConfig, values)
        device = choose_device(config.device, config.backend)
        dtype = choose_dtype(config.dtype, device)
        torch.set_num_threads(config.resources.cpus)
        cache = CACHE.expanduser()
        folder = resolve_base(config.base, cache / "bases", with_checker=True)
        base, checker = load(folder, dtype=dtype, device=device), load_safety_checker(folder, device=device)
        rows = config.max_rows or DEFAULT_ROWS[device.type]
        self.engine = Engine(base, checker, slots=config.slots, max_rank=config.max_rank, max_rows=rows)
        self.keeper = AdapterKeeper(self.engine.bank, base, lambda uri: fetch_adapter(uri, cache))
        self.drawer = Drawer(self.engine, self.keeper)
        self.base = base_facts(name_of(config.base), base, has_checker=checker is not None)
        self.replica = serve.get_replica_context().replica_id.unique_id
        self.version = ""
        self._registry = registry
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
        """Raise when the engine's thread has ended: Ray Serve then starts another replica."""
        if not self.engine.is_alive:
            raise RuntimeError("The engine's thread has ended.")

    async def __del__(self) -> None:
        """Finish what was taken in."""
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self.engine.close)
        with suppress(Exception):  # the registry may be gone already; it forgets the quiet by itself
            async with asyncio.timeout(GOODBYE_S):
                await self._registry.leave.remote(self.replica)

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
                facts = ReplicaFacts(self.replica, self.base, self.keeper.facts, self.version)
                await self._registry.report.remote(facts)
            await asyncio.sleep(REPORT_EVERY_S)
