"""A whole service in this process: the gateway's HTTP over a real engine, without Ray."""

import base64
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from diptych_api.servingconfig import RegistryConfig, ServedAdapter, wire
from diptych_diffusion.adapter_source import fetch_adapter
from diptych_diffusion.pipeline import load
from diptych_diffusion.safety_checker import SafetyChecker, load_safety_checker
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.directory import Directory
from diptych_serving.drawer import Drawer
from diptych_serving.engine import Engine
from diptych_serving.http_api import build_http
from diptych_serving.jobs import JobBook
from diptych_serving.registry import Registry
from diptych_serving.replica_facts import ReplicaFacts, base_facts
from diptych_serving.service import Limiter, Service


@dataclass
class Served:
    """A service, its registry and its client. ``configure`` does what happens when the user_config changes."""

    service: Service
    engine: Engine
    keeper: AdapterKeeper
    jobs: JobBook
    registry: Registry = field(default_factory=Registry)
    client: TestClient = field(init=False)

    def configure(self, **values: Any) -> None:
        """Follow a new configuration to its end."""
        portal = self.client.portal
        assert portal is not None
        portal.call(self.registry.reconfigure, wire(RegistryConfig.model_validate(values)))
        portal.call(self._follow)

    async def add(self, adapter: ServedAdapter) -> None:
        """Serve one more adapter, as a gateway's registry does."""
        await self.registry.add(adapter)
        await self._follow()

    async def remove(self, name: str) -> None:
        """Serve an adapter no longer."""
        await self.registry.remove(name)
        await self._follow()

    async def _follow(self) -> None:
        newest = await self.registry.newer("")
        assert newest is not None
        version, config = newest
        await self.keeper.follow(config.adapters)
        self.service.directory.configure(config, os.environ)
        decoder = self.engine.decoder
        decoder.safety = config.safety
        base = base_facts("tiny", self.engine.components, has_checker=decoder.checker is not None)
        self.service.directory.update([ReplicaFacts("one", base, self.keeper.facts, version)])


@contextmanager
def served(
    folder: Path,
    *,
    max_rows: int = 8,
    limiter: Limiter | None = None,
    fetch: Callable[[str], Path] | None = None,
    checker: SafetyChecker | None = None,
) -> Iterator[Served]:
    """Serve the pipeline in ``folder``, its own safety checker replaced by one that is given; nothing is configured."""
    with Engine(load(folder), checker or load_safety_checker(folder), max_rows=max_rows) as engine:
        get = fetch or (lambda uri: fetch_adapter(uri, folder / "cache"))
        keeper = AdapterKeeper(engine.bank, engine.components, get, pause_s=0.01)
        service = Service(Directory("test"), Drawer(engine, keeper), limiter)
        served = Served(service, engine, keeper, JobBook(service))
        app = build_http(lambda: service, lambda: served.jobs, lambda: served)
        with TestClient(app, raise_server_exceptions=False) as client:
            served.client = client
            yield served


def picture_of(text: str) -> NDArray[np.uint8]:
    """Return the picture in a reply, ``[H, W, 3]``."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.array(image.convert("RGB"))
