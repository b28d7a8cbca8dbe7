"""Drawings that can be stopped. Whoever draws also tells of the end, so that no step comes after it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stops:
    """The drawings of each session that go on, and the wish to stop them."""

    going: dict[str, list[asyncio.Event]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def heard(self, session: str) -> Iterator[asyncio.Event]:
        """Yield what is set when the session asks to stop while the body runs."""
        stop = asyncio.Event()
        self.going[session].append(stop)
        try:
            yield stop
        finally:
            self.going[session].remove(stop)
            if not self.going[session]:
                del self.going[session]

    def stop(self, session: str) -> None:
        """Ask all drawings of a session to stop."""
        for stop in self.going.get(session, ()):
            stop.set()


async def until(stop: asyncio.Event, events: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Yield what comes until the stop. What was awaited then is cancelled, which ends the source."""
    stopped = asyncio.ensure_future(stop.wait())
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(events))
            await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                return
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        left = [task for task in (coming, stopped) if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
