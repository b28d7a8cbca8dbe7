"""More ports for the HTTP API on one machine, as a Kubernetes Service has several ports for one container port."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Final

from diptych_api.errors import RunFailed

CHUNK: Final = 1 << 16
LOOPBACK: Final = "127.0.0.1"
NOBODY: Final = "127.0.0.2"
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
    with ExitStack() as stack:
        for port in ports:
            try:
                server = await asyncio.start_server(_handler(host, target), host, port)
            except OSError as error:
                hint = "Choose another in spec.endpoints.compatible."
                opened.set_exception(RunFailed(f"Port {port} cannot be opened: {error.strerror}.", hint=hint))
                return
            stack.callback(server.close)
        opened.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()


def _handler(host: str, target: int) -> Handler:
    """Return what connects to the API, from an address of its own: nobody's X-Forwarded-For is believed from there."""
    there_host, source = (LOOPBACK, (NOBODY, 0)) if host in ("0.0.0.0", LOOPBACK) else (host, None)  # noqa: S104 - asked for

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError):
            there = await asyncio.open_connection(there_host, target, local_addr=source)
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
