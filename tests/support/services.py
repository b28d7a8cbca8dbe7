"""A whole service in this process: the gateway's HTTP over a real engine, without Ray."""

import base64
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from diptych_api.servingconfig import RegistryConfig
from diptych_diffusion.adapter_source import fetch_adapter
from diptych_diffusion.pipeline import load
from diptych_diffusion.safety_checker import SafetyChecker, load_safety_checker
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.drawer import Drawer
from diptych_serving.engine import Engine
from diptych_serving.http_api import build_http
from diptych_serving.jobs import JobBook
from diptych_serving.replica_facts import ReplicaFacts, base_facts
from diptych_serving.service import Directory, Limiter, Service


@dataclass
class Served:
    """A service and its client. ``configure`` does what the registry does when its user_config changes."""

    client: TestClient
    engine: Engine
    keeper: AdapterKeeper
    service: Service

    def configure(self, **values: Any) -> None:
        """Follow a new configuration to its end."""
        config = RegistryConfig.model_validate(values)
        portal = self.client.portal
        assert portal is not None
        portal.call(self.keeper.follow, config.adapters)
        directory = self.service.directory
        directory.configure(config, os.environ)
        decoder = self.engine.decoder
        decoder.safety = config.safety
        base = base_facts("tiny", self.engine.components, has_checker=decoder.checker is not None)
        directory.update([ReplicaFacts("one", base, self.keeper.facts, "1")])


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
        jobs = JobBook(service)
        with TestClient(build_http(lambda: service, lambda: jobs), raise_server_exceptions=False) as client:
            yield Served(client, engine, keeper, service)


def picture_of(text: str) -> NDArray[np.uint8]:
    """Return the picture in a reply, ``[H, W, 3]``."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.array(image.convert("RGB"))
