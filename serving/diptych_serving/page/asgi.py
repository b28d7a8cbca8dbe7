"""ASGI between two processes: a request goes over whole, its answer comes back message by message."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diptych_serving.refusals import Refused

CARRIED: Final = (
    *("type", "http_version", "method", "scheme", "path", "raw_path", "query_string"),
    *("root_path", "headers", "client", "server"),
)
"""What is carried of a scope: all else belongs to the process that it is in."""
AWAY: Final = b"The page is starting again. Load it anew in a few seconds.\n"
_log = logging.getLogger(__name__)
_running: Final[set[asyncio.Future[None]]] = set()


class Elsewhere(Protocol):
    """An ASGI application in another process."""

    def answer(self, scope: Mapping[str, Any], body: bytes) -> AsyncIterator[Message]:
        """Yield the messages of an answer; whoever stops listening is gone. Raises Refused while it is away."""


async def relay(page: Elsewhere, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with what the page answers, until the client is gone."""
    if scope["type"] != "http":
        await send({"type": "websocket.close"})
        return
    body = await _body(receive)
    carried = {name: scope[name] for name in CARRIED if name in scope}
    answering = asyncio.ensure_future(_pass_on(page.answer(carried, body), send))
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            answering.result()
    finally:
        for part in (answering, gone):
            part.cancel()
        await asyncio.gather(answering, gone, return_exceptions=True)


async def answers(app: ASGIApp, scope: Mapping[str, Any], body: bytes) -> AsyncIterator[Message]:
    """Yield what an application of this process answers; when nobody listens any more, it hears so."""
    messages: asyncio.Queue[Message | None] = asyncio.Queue()
    gone = asyncio.Event()
    request: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if request:
            return request.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def run() -> None:
        try:
            await app(dict(scope), receive, messages.put)
        except Exception:  # noqa: BLE001 -- the client has heard what there was
            _log.exception("The page failed.")
        finally:
            messages.put_nowait(None)

    running = asyncio.ensure_future(run())
    _running.add(running)
    running.add_done_callback(_running.discard)
    try:
        while (message := await messages.get()) is not None:
            yield message
    finally:
        gone.set()


async def _pass_on(messages: AsyncIterator[Message], send: Send) -> None:
    """Send an answer; one that does not come is told in its place, one that breaks off is broken off."""
    begun = False
    try:
        async for message in messages:
            begun = True
            await send(message)
    except Refused:
        _log.info("The page is away.")
    if not begun:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"5")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": AWAY})


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
