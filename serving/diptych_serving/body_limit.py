"""A bound on what a request may bring, before anything reads it."""

from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diptych_serving.http_errors import answer
from diptych_serving.refusals import Code, Refused


class BodyLimit:
    """Refuses bodies above a number of bytes with 413, whether their length was told or not."""

    def __init__(self, app: ASGIApp, largest: Callable[[], int]) -> None:
        self.app = app
        self.largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body up to the bound, then hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        largest = self.largest()
        kept: list[Message] = []
        told, read = _told_length(scope), 0
        while max(told, read) <= largest:
            message = await receive()
            kept.append(message)
            read += len(message.get("body", b""))
            if not message.get("more_body", False):
                break
        if max(told, read) > largest:
            refused = Refused(Code.TOO_LARGE, f"The body is larger than {largest} bytes.", reason="BodyTooLarge")
            await answer(scope["path"], refused)(scope, receive, send)
            return

        async def replayed() -> Message:
            return kept.pop(0) if kept else await receive()

        await self.app(scope, replayed, send)


def _told_length(scope: MutableMapping[str, Any]) -> int:
    told = dict(scope["headers"]).get(b"content-length", b"0")
    return int(told) if told.isdigit() else 0
