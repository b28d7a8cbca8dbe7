"""The page's replica as the gateway reaches it, and its place in the gateway's application."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from diptych_api.serveconfig import PAGE_PATH
from diptych_serving.identity import PAGE_HEADER
from diptych_serving.page.asgi import relay
from diptych_serving.refusals import Code, Refused

AWAY_RETRY_S: Final = 5.0
TICKET: Final = PAGE_HEADER.encode()


@dataclass(frozen=True, slots=True)
class RayPage:
    """The page behind a handle. It shows the gateway's ticket when it asks on behalf of a visitor."""

    handle: DeploymentHandle[Any]
    ticket: str

    async def answer(self, scope: Mapping[str, Any], body: bytes) -> AsyncIterator[Message]:
        """Yield the messages of an answer; whoever stops listening ends it there."""
        headers = [header for header in scope["headers"] if header[0] != TICKET]
        given = {**scope, "headers": [*headers, (TICKET, self.ticket.encode())]}
        asked = self.handle.options(stream=True).answer.remote(given, body)
        response = cast("DeploymentResponseGenerator[Message]", asked)
        try:
            async for message in response:
                yield message
        except (RayError, DeploymentUnavailableError) as error:
            if isinstance(error, RayTaskError):
                raise
            raise Refused(Code.UNAVAILABLE, "The page is away.", retry_after_s=AWAY_RETRY_S) from error
        finally:
            response.cancel()


def mount(app: FastAPI, get_page: Callable[[], RayPage]) -> None:
    """Serve the page on its path."""

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await relay(get_page(), scope, receive, send)

    @app.get(PAGE_PATH, include_in_schema=False)
    async def slash(request: Request) -> RedirectResponse:
        """Lead to the path that the page's own addresses begin with, whatever a proxy has put before it."""
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{PAGE_PATH.removeprefix('/')}/{query}")

    app.mount(PAGE_PATH, page)
