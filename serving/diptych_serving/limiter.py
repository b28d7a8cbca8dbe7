"""The counts of all clients in one place, for every gateway and both protocols."""

import asyncio
import time
from typing import Any

from ray.serve.handle import DeploymentHandle

from diptych_api.limits import RateLimit
from diptych_serving.rate_limit import Client, RateLimiter, Refusal

PAUSE_S = 1.0


class Limiter:
    """Holds the rate limiter and follows the registry; new limits keep the counts of days and months."""

    def __init__(self, registry: DeploymentHandle[Any]) -> None:
        self._registry = registry
        self._held = RateLimiter(RateLimit())
        self._version = ""
        self._task = asyncio.ensure_future(self._follow())

    def admit(self, client: Client, work_units: float) -> Refusal | None:
        """Count a request and return None, or count nothing and return why it is refused."""
        return self._held.admit(client, work_units, time.time())

    def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        """Count the work of a request that was let in."""
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

    def _take(self, limits: RateLimit) -> None:
        if limits != self._held.limits:
            counts = self._held.snapshot()
            self._held = RateLimiter(limits)
            self._held.restore(counts)
