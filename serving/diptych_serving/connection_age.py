"""Connections that last are ended between two answers, so that clients come to the pods that there are by now.

A Service chooses the pod when a connection is made. When other pods take over, those before them stay for a minute.
"""

import time
from collections.abc import Callable
from typing import Final

from cachetools import LRUCache
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_S: Final = 30.0
MOST: Final = 10_000
"""Connections that are known; of others the age begins anew."""


class ConnectionAge:
    """Answers with `Connection: close` what comes over an old connection."""

    def __init__(self, app: ASGIApp, now: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self.now = now
        self._since = LRUCache[tuple[str, int], float](MOST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        client = scope.get("client")
        if scope["type"] != "http" or client is None or not self._is_old(tuple(client)):
            await self.app(scope, receive, send)
            return

        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self.app(scope, receive, last)

    def _is_old(self, client: tuple[str, int]) -> bool:
        now = self.now()
        if now - self._since.setdefault(client, now) < LONGEST_S:
            return False
        del self._since[client]
        return True
