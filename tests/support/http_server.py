"""A real server on a port of its own, over a real engine, without Ray."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from diptych_api.servingconfig import RegistryConfig
from diptych_diffusion.pipeline import load
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.directory import Directory
from diptych_serving.drawer import Drawer
from diptych_serving.engine import Engine
from diptych_serving.http_api import build_http
from diptych_serving.jobs import JobBook
from diptych_serving.registry import Registry
from diptych_serving.replica_facts import ReplicaFacts, base_facts
from diptych_serving.service import Service


@contextmanager
def listening(base: Path, adapter: Path) -> Iterator[str]:
    """Serve a pipeline with the adapter ``noto``, and ``gone`` that is not there; yield the URL."""
    adapters = [{"name": "noto", "uri": str(adapter)}, {"name": "gone", "uri": "/nowhere"}]
    config = RegistryConfig.model_validate({"adapters": adapters, "defaults": {"steps": 3, "guidanceScale": 2}})
    with Engine(load(base)) as engine, socket.create_server(("127.0.0.1", 0)) as port:
        server = uvicorn.Server(uvicorn.Config("", log_level="error"))

        async def serve() -> None:
            keeper = AdapterKeeper(engine.bank, engine.components, Path)
            service = Service(Directory("test", config), Drawer(engine, keeper))
            await keeper.follow(config.adapters)
            service.directory.update([ReplicaFacts("one", base_facts("tiny", engine.components), keeper.facts, "1")])
            jobs = JobBook(service)
            server.config.app = build_http(lambda: service, lambda: jobs, Registry)
            await server.serve([port])

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
