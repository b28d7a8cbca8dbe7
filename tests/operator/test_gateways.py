"""Gateways are asked over HTTP, and whatever answers does no harm."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from diptych_operator import gateways as gateways_module
from diptych_operator.gateways import Gateways
from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, Manifest, Ref
from diptych_operator.store import Store
from diptych_operator.told import Told

REF = Ref(DIFFUSION_DEPLOYMENT, "art", "noto")
READY: dict[str, Any] = {"ready": True, "replicas": 1, "adapters": {"style": {"state": "Loaded"}}}


def deployment(phase: str = "Ready", version: int = 1) -> Manifest:
    metadata = {"name": REF.name, "namespace": REF.namespace, "uid": "uid", "resourceVersion": str(version)}
    head = {"apiVersion": DIFFUSION_DEPLOYMENT.api_version, "kind": DIFFUSION_DEPLOYMENT.kind}
    return {**head, "metadata": metadata, "spec": {"endpoints": {"http": {"port": 8123}}}, "status": {"phase": phase}}


class Asked:
    """A gateway, and the operator's ear for it."""

    def __init__(self) -> None:
        self.body = json.dumps(READY)
        self.status = 200
        self.paths: list[str] = []
        self.store = Store()
        self.store.put(deployment())
        self.woken: asyncio.Queue[Ref] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        headers = {"Location": "http://127.0.0.1:1/"} if self.status == 302 else {}
        return web.Response(text=self.body, status=self.status, headers=headers)

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[Gateways]:
        """Ask, for the time of the body."""
        app = web.Application()
        app.router.add_get("/{rest:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        address = f"http://127.0.0.1:{port}/{{namespace}}/{{name}}/{{port}}"
        gateways = Gateways(self.store, address, self.woken.put_nowait)
        asking = asyncio.ensure_future(gateways.keep())
        try:
            async with asyncio.timeout(30):
                yield gateways
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await runner.cleanup()


def test_a_deployment_that_serves_is_asked_at_its_service() -> None:
    async def story() -> tuple[Ref, Told | None, list[str]]:
        asked = Asked()
        async with asked.heard() as gateways:
            return await asked.woken.get(), gateways.told(REF), asked.paths

    woken, told, paths = asyncio.run(story())
    assert woken == REF
    assert told is not None
    assert told.readiness is not None
    assert told.readiness.adapters["style"].state == "Loaded"
    assert paths == ["/art/noto-images/8123/ready"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("<html>", 200, "none that this operator reads"),
        (json.dumps(READY | {"replicas": -1}), 200, "none that this operator reads"),
        ("", 302, "none that this operator reads"),
        ("x" * (1 << 21), 200, "does not end"),
    ],
)
def test_an_answer_that_is_none_is_told(body: str, status: int, words: str) -> None:
    async def story() -> Told | None:
        asked = Asked()
        asked.body, asked.status = body, status
        async with asked.heard() as gateways:
            await asked.woken.get()
            return gateways.told(REF)

    told = asyncio.run(story())
    assert told is not None
    assert told.readiness is None
    assert words in told.trouble


def test_one_that_falls_silent_is_believed_what_it_said_and_one_that_is_gone_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateways_module, "EAGER_S", 0.05)

    async def story() -> list[Told | None]:
        asked, heard = Asked(), []
        asked.body = json.dumps(READY | {"ready": False})
        async with asked.heard() as gateways:
            await asked.woken.get()
            asked.body = "nothing"
            await asked.woken.get()
            heard.append(gateways.told(REF))
            asked.store.put(deployment("Suspended", 2))
            assert await asked.woken.get() == REF
            assert gateways.told(REF) == Told()
        heard.append(Gateways(asked.store, "", lambda _: None).told(REF))
        return heard

    silent, nobody = asyncio.run(story())
    assert silent is not None
    assert silent.readiness is not None
    assert silent.trouble
    assert nobody is None
