"""More ports for the HTTP API on one machine, as a Kubernetes Service has several ports for one container port."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from typing import Final

from diptych_api.errors import RunFailed

CHUNK: Final = 1 << 16
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def forwarded(ports: Iterable[int], host: str, target: int) -> Iterator[None]:
    """Hand every connection to one of the ports on to ``target`` while the body runs. Raises RunFailed."""
    loops = Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()
    work = _forward(list(ports), host, target, loops)
    thread = threading.Thread(target=lambda: asyncio.run(work), name="forward", daemon=True)
    thread.start()
    try:
        loop, stop = loops.result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()


async def _forward(
    ports: Iterable[int], host: str, target: int, opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
) -> None:
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        for port in ports:
            try:
                await stack.enter_async_context(await asyncio.start_server(_handler(target), host, port))
            except OSError as error:
                hint = "Choose another in spec.endpoints.compatible."
                opened.set_exception(RunFailed(f"Port {port} cannot be opened: {error.strerror}.", hint=hint))
                return
        opened.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()


def _handler(target: int) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError):
            there = await asyncio.open_connection("127.0.0.1", target)
            with closing(there[1]):
                await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    return handle


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy to the end, then end the other side."""
    while content := await reader.read(CHUNK):
        writer.write(content)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
