"""From the engine's thread to an event loop."""

import asyncio
from collections.abc import AsyncIterator

from diptych_serving.engine import Engine
from diptych_serving.image_request import Event, Failed, Finished, ImageRequest


async def events_of(engine: Engine, request: ImageRequest, queue_timeout_s: float) -> AsyncIterator[Event]:
    """Yield what happens to a request, last of it Finished or Failed, which it also is when it waits too long.

    Whoever stops listening gives the rows back at the next step.
    """
    loop, inbox = asyncio.get_running_loop(), asyncio.Queue[Event]()

    def tell(event: Event) -> None:
        loop.call_soon_threadsafe(inbox.put_nowait, event)

    task = engine.submit(request, tell, queue_timeout_s=queue_timeout_s)
    try:
        while True:
            event = await inbox.get()
            yield event
            if isinstance(event, Finished | Failed):
                return
    finally:
        task.cancel()
