"""Who is being drawn for, and how a deployment that ends waits for them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from diptych_serving.refusals import Code, Refused

RETRY_S: Final = 5.0


class Door:
    """Lets requests in until it is closed. All belongs to one event loop."""

    def __init__(self) -> None:
        self.is_closed = False
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def check(self) -> None:
        """Raise Refused once it is closed."""
        if self.is_closed:
            hint = "Try again; another one may take its place."
            raise Refused(Code.UNAVAILABLE, "The deployment is ending.", hint, reason="Draining", retry_after_s=RETRY_S)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count a request for the time of the body."""
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def close(self) -> None:
        """Let nobody in any more; return when everybody has left."""
        self.is_closed = True
        await self._empty.wait()
