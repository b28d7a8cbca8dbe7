"""The counts of all clients in one place, for every gateway and both protocols."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from ray.serve.handle import DeploymentHandle

from diptych_api.limits import RateLimit
from diptych_serving.rate_limit import Client, RateLimiter, Refusal

PAUSE_S = 1.0
LONGEST_WAIT_S = 2.0


class Limiter:
    """Holds the rate limiter and follows the registry.

    Its methods are coroutines, which run one after another on the event loop; Ray Serve runs plain ones in threads.
    """

    def __init__(self, registry: DeploymentHandle[Any]) -> None:
        self._registry = registry
        self._held: RateLimiter | None = None
        self._known = asyncio.Event()
        self._version = ""
        self._task = asyncio.ensure_future(self._follow())

    async def admit(self, client: Client, work_units: float) -> Refusal | None:
        """Count a request and return None, or count nothing and return why it is refused.

        Before the limits are known, as after a restart, nobody is let in.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._known.wait(), LONGEST_WAIT_S)
        if self._held is None:
            return Refusal("LimitsUnknown", "The limits are not known yet. Try again.", PAUSE_S)
        return self._held.admit(client, work_units, time.time())

    async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        """Count the work of a request that was let in."""
        if self._held is not None:
            self._held.finished(client, seconds, time.time(), succeeded=succeeded)

    async def _follow(self) -> None:
        while True:
            try:
                newer = await self._registry.newer.remote(self._version)
            except Exception:  # noqa: BLE001 -- it comes back
                await asyncio.sleep(PAUSE_S)
                continue
            if newer is not None:
                self._version, config = newer
                self._take(config.rate_limit)
                self._known.set()

    def _take(self, limits: RateLimit) -> None:
        if self._held is None or limits != self._held.limits:
            self._held = RateLimiter(limits) if self._held is None else self._held.with_limits(limits)
