"""The serving application as it is, but for its engine, which answers at once: the rest is the time of the gateway."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from unittest import mock

import numpy as np
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from diptych_api.servingconfig import ServingConfig
from diptych_api.wire import from_wire
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.cache_folder import cache_folder
from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_serving import app
from diptych_serving.degrade import Degraded
from diptych_serving.devices import name_of
from diptych_serving.image_request import Event, Finished, Image, ImageRequest, Progress, Timing
from diptych_serving.replica_facts import ReplicaFacts, base_facts

IMPORT_PATH: Final = "diptych_bench.noop:build"
REPORT_EVERY_S: Final = 2.0
NO_TIME: Final = Timing(0.0, 0.0, 0.0, 0.0)


class NoopReplica:
    """Answers as an engine replica does, progress of every step included, with pictures of noise drawn beforehand."""

    def __init__(self, values: dict[str, Any], registry: DeploymentHandle[Any]) -> None:
        config = from_wire(ServingConfig, values)
        self.base = load(resolve_base(config.base, cache_folder() / "bases"))
        self.name = name_of(config.base)
        self._registry = registry
        self._drawn: dict[tuple[int, int], Any] = {}
        self._task = asyncio.ensure_future(self._report(self.base))

    async def draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
        """Yield what an engine would, at once."""
        steps, size = request.settings.steps, (request.settings.height, request.settings.width)
        yield Degraded({})
        for step in range(1, steps + 1 if request.is_followed else 1):
            yield Progress(step, steps)
        if size not in self._drawn:
            self._drawn[size] = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        yield Finished(tuple(Image(self._drawn[size], None) for _ in request.arms), NO_TIME)

    async def _report(self, base: Components) -> None:
        while True:
            with suppress(Exception):
                facts = ReplicaFacts("noop", base_facts(self.name, base), {}, "")
                await self._registry.report.remote(facts)
            await asyncio.sleep(REPORT_EVERY_S)


def build(args: dict[str, Any]) -> Application:
    """Return the application with an engine that draws nothing."""
    with mock.patch.object(app, "EngineReplica", NoopReplica):
        return app.build(args)


@contextmanager
def no_engine() -> Iterator[None]:
    """Let what is served in the body be this application."""
    with mock.patch("diptych_api.serveconfig.IMPORT_PATH", IMPORT_PATH):
        yield
