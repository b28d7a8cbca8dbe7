"""/healthz, /readyz and /metrics on one port."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from diptych_operator.metrics import CONTENT_TYPE, Metrics

Check = Callable[[], str]
"""Returns what is wrong; an empty text when all is well."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(port: int, metrics: Metrics, *, alive: Check, ready: Check) -> AsyncIterator[int]:
    """Answer for the time of the body; yield the port, which the system chooses for 0."""
    app = web.Application()
    app.router.add_get("/healthz", _checked(alive))
    app.router.add_get("/readyz", _checked(ready))
    app.router.add_get("/metrics", _page(metrics))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, port=port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _checked(check: Check) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        wrong = check()
        return web.Response(text=f"{wrong or 'ok'}\n", status=503 if wrong else 200)

    return answer


def _page(metrics: Metrics) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=metrics.page(), headers={"Content-Type": CONTENT_TYPE})

    return answer
