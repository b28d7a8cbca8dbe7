"""What happens to requests while they are drawn, for protocols that can tell."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from diptych_serving.image_request import Event, ImageRequest
from diptych_serving.service import Admitted, Drawn

MOST_PREVIEWS: Final = 8
Told = tuple[int, Event] | list[Drawn]
"""The number of a request and what happened to it; last of all, the pictures of all."""


def with_previews(requests: Sequence[ImageRequest], every: int) -> list[ImageRequest]:
    """Return the requests with a preview every so many steps; 0 for none.

    A preview costs all who share the batch a decoding, so there are at most eight of a picture.
    """
    return [_with_previews(request, every) for request in requests]


def _with_previews(request: ImageRequest, every: int) -> ImageRequest:
    least = -(-request.settings.steps // MOST_PREVIEWS)
    return replace(request, preview_every=max(every, least) if every else 0)


async def told(admitted: Admitted) -> AsyncIterator[Told]:
    """Yield what happens, last the pictures. Whoever stops listening gives the rows back. Raises Refused."""
    inbox = asyncio.Queue[tuple[int, Event] | None]()
    task = asyncio.create_task(admitted.draw(lambda *event: inbox.put_nowait(event)))
    task.add_done_callback(lambda _: inbox.put_nowait(None))
    try:
        while (event := await inbox.get()) is not None:
            yield event
        yield task.result()
    finally:
        task.cancel()
        with suppress(BaseException):
            await task
