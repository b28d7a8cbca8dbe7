"""The page as a Ray Serve deployment behind the gateway."""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.types import ASGIApp, Message

from diptych_api.servingconfig import PageConfig
from diptych_api.wire import from_wire
from diptych_serving.page.asgi import answers

BLOCKS: Final = "diptych_serving.page.blocks"
_log = logging.getLogger(__name__)


class Page:
    """Holds the page in one replica: a visitor's state lives in its memory.

    It counts as started at once, so that nobody who wants the API waits for Gradio, whose import takes seconds; who
    opens the page meanwhile waits.
    """

    def __init__(self) -> None:
        self._app: asyncio.Future[ASGIApp] = asyncio.Future()
        self._living: asyncio.Task[None] | None = None

    async def reconfigure(self, values: dict[str, Any]) -> None:
        """Take in the user_config, a PageConfig: the page begins anew. Raises pydantic's ValidationError."""
        config = from_wire(PageConfig, values)
        self._end()
        if self._app.done():
            self._app = asyncio.Future()
        self._living = asyncio.create_task(self._live(config, self._app))

    async def answer(self, scope: Mapping[str, Any], body: bytes) -> AsyncIterator[Message]:
        """Yield what the page answers to a request."""
        app = await asyncio.shield(self._app)
        async for message in answers(app, scope, body):
            yield message

    def __del__(self) -> None:
        """Leave the open pages, which never end by themselves."""
        self._end()

    def _end(self) -> None:
        if self._living is not None:
            self._living.cancel()

    async def _live(self, config: PageConfig, app: "asyncio.Future[ASGIApp]") -> None:
        """Make the page, then keep what Gradio runs beside it."""
        try:
            await asyncio.to_thread(importlib.import_module, BLOCKS)
            from diptych_serving.page.blocks import page_app  # noqa: PLC0415 - imported by now

            made = page_app(config.api_url, config.title)
            async with made.router.lifespan_context(made):
                app.set_result(made)
                await asyncio.Event().wait()
        except Exception:  # noqa: BLE001 -- the page tells, and the API goes on
            _log.exception("The page does not start.")
            if not app.done():
                app.set_result(broken)


async def broken(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401 - an ASGI application
    """Say that there is no page."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": b"The page does not start; the log of its replica tells why.\n"})
