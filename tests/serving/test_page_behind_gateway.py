"""The page behind the gateway: what one process asks and another answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from diptych_serving.page.asgi import answers, relay
from diptych_serving.refusals import Code, Refused


class Page:
    """A page that is asked as through Ray Serve: with plain values only."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.is_away = False
        self.app = FastAPI()
        self.app.post("/echo")(self.echo)
        self.app.get("/steps")(self.steps)
        self.app.get("/broken")(self.broken)

    async def echo(self, request: Request) -> dict[str, Any]:
        return {"body": json.loads(await request.body()), "path": request.url.path, "base": str(request.base_url)}

    async def steps(self) -> StreamingResponse:
        async def told() -> AsyncIterator[str]:
            try:
                yield "one"
                await asyncio.Event().wait()
            finally:
                self.left.set()

        return StreamingResponse(told())

    async def broken(self) -> None:
        raise RuntimeError

    async def answer(self, scope: Mapping[str, Any], body: bytes) -> AsyncIterator[Message]:
        plain = (str, bytes, list, tuple)
        assert all(isinstance(value, plain) for value in scope.values())
        if self.is_away:
            raise Refused(Code.UNAVAILABLE, "It is away.")
        async for message in answers(self.app, scope, body):
            yield message


def behind(page: Page) -> FastAPI:
    """Return a gateway that has the page on a path of its own."""

    async def place(scope: Scope, receive: Receive, send: Send) -> None:
        await relay(page, scope, receive, send)

    app = FastAPI()
    app.mount("/ui", place)
    return app


def test_the_page_hears_body_and_path_and_answers_as_it_would_alone() -> None:
    with TestClient(behind(Page())) as client:
        reply = client.post("/ui/echo", json={"a": "b" * 100_000}).json()
        assert (reply["path"], reply["base"]) == ("/ui/echo", "http://testserver/ui/")
        assert len(reply["body"]["a"]) == 100_000
        assert client.get("/ui/nowhere").status_code == 404


def test_a_page_that_breaks_or_is_away_is_told() -> None:
    page = Page()
    with TestClient(behind(page), raise_server_exceptions=False) as client:
        assert client.get("/ui/broken").status_code == 500
        page.is_away = True
        answer = client.get("/ui/steps")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "starting again" in answer.text
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ui/steps"):
            pass


def test_steps_pass_at_once_and_the_page_hears_when_the_visitor_leaves() -> None:
    async def visit() -> tuple[list[bytes], bool]:
        page, sent, gone = Page(), list[bytes](), asyncio.Event()

        async def send(message: Message) -> None:
            if body := message.get("body"):
                sent.append(body)
                gone.set()

        begun = iter([{"type": "http.request", "body": b""}])

        async def receive() -> Message:
            if (message := next(begun, None)) is not None:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "GET", "path": "/ui/steps", "raw_path": b"/ui/steps", "headers": []}
        async with asyncio.timeout(30):
            await behind(page)({**scope, "query_string": b"", "root_path": ""}, receive, send)
            await page.left.wait()
        return sent, page.left.is_set()

    assert asyncio.run(visit()) == ([b"one"], True)
