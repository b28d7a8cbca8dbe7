"""The limiter of the application in this process, with a registry that needs no Ray."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from diptych_serving.limiter import Limiter
from diptych_serving.registry import Registry


class Method:
    """A method of a deployment's handle."""

    def __init__(self, call: Any) -> None:
        self.remote = call


class Handle:
    """A deployment's handle whose replica is in this process."""

    def __init__(self, replica: Any) -> None:
        self._replica = replica

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self._replica, name))


def followed(registry: Registry) -> Any:
    """Return a handle of the registry."""
    return Handle(registry)


@asynccontextmanager
async def limiter(registry: Registry, **rate_limit: Any) -> AsyncIterator[Limiter]:
    """Run a limiter under these limits; its end is an orderly one."""
    await registry.reconfigure({"rateLimit": rate_limit})
    held = Limiter("local", "test", followed(registry))
    try:
        yield held
    finally:
        await held.close()


async def until(condition: Any) -> None:
    """Wait for a condition, ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - whatever the condition is, it wakes nobody
            await asyncio.sleep(0.005)
