"""A limiter for a service in this process."""

import threading

from diptych_api.limits import RateLimit
from diptych_serving.allowances import Allowance, allowances
from diptych_serving.rate_limit import Client, RateLimiter, Refusal


class CountingLimiter:
    """The real policy on a clock that stands still."""

    def __init__(self, limits: RateLimit) -> None:
        self.held = RateLimiter(limits)
        self.lock = threading.Lock()

    async def admit(self, client: Client, work: float) -> Refusal | None:
        with self.lock:
            return self.held.admit(client, work, 0.0)

    async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        self.held.finished(client, seconds, 0.0, succeeded=succeeded)

    async def allowances(self, client: Client) -> list[Allowance]:
        with self.lock:
            return allowances(self.held, client, 0.0)
