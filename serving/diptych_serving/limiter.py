"""The counts of all clients in one place, for every gateway and both protocols."""

import asyncio
import logging
import os
import time
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from ray.serve.handle import DeploymentHandle
from ray.util.metrics import Gauge

from diptych_api.errors import SpecInvalid
from diptych_api.limits import RateLimit
from diptych_serving.allowances import Allowance, allowances
from diptych_serving.budget_store import open_store
from diptych_serving.budgets import BudgetKeeper
from diptych_serving.rate_limit import Client, RateLimiter, Refusal
from diptych_serving.tally import Tally

PAUSE_S: Final = 1.0
LONGEST_WAIT_S: Final = 2.0
UNKNOWN: Final = Refusal("LimitsUnknown", "The limits are not known yet. Try again.", PAUSE_S)
_log = logging.getLogger(__name__)


class Limiter:
    """Holds the rate limiter and follows the registry.

    Its methods are coroutines, which run one after another on the event loop; Ray Serve runs plain ones in threads.
    """

    def __init__(self, namespace: str, name: str, registry: DeploymentHandle[Any]) -> None:
        self._namespace = namespace
        self._name = name
        self._registry = registry
        self._held = RateLimiter(RateLimit())
        self._keeper: BudgetKeeper | None = None
        self._tally = Tally()
        self._known = asyncio.Event()
        self._process = uuid4().hex
        self._version = ""
        self._problem = ""
        self._store_up = Gauge(
            "diptych_rate_limit_store_up", "1 while budgets are kept in the store, 0 while it is away."
        )
        self._task = asyncio.ensure_future(self._follow())

    async def admit(self, client: Client, work_units: float) -> Refusal | None:
        """Count a request and return None, or count nothing and return why it is refused.

        Before the limits are known, as after a restart, nobody is let in.
        """
        if not await self._knows():
            return UNKNOWN
        refusal = self._held.admit(client, work_units, time.time())
        self._tally.count(is_admitted=refusal is None, sessions=len(self._held.sessions))
        if refusal is None:
            self._changed()
        return refusal

    async def allowances(self, client: Client) -> list[Allowance] | Refusal:
        """Return what is left of each limit, or why that is not known."""
        if not await self._knows():
            return UNKNOWN
        return allowances(self._held, client, time.time())

    async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        """Count the work of a request that was let in."""
        self._held.finished(client, seconds, time.time(), succeeded=succeeded)
        self._changed()

    async def tally(self) -> Tally:
        """Return what was asked for since this process started."""
        return self._tally

    async def close(self) -> None:
        """Write what is not written yet."""
        self._task.cancel()
        if self._keeper is not None:
            await self._keeper.close()

    async def _knows(self) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._known.wait(), LONGEST_WAIT_S)
        return self._known.is_set()

    def _changed(self) -> None:
        if self._keeper is not None:
            self._keeper.changed()

    async def _follow(self) -> None:
        while True:
            try:
                newer = await self._registry.newer.remote(self._version)
                if newer is not None:
                    version, config = newer
                    await self._take(config.rate_limit)
                    self._version = version
                    self._known.set()
                await self._registry.note.remote("limiter", self._problem)
            except Exception:  # noqa: BLE001 -- it comes back
                await asyncio.sleep(PAUSE_S)

    async def _take(self, limits: RateLimit) -> None:
        """Go on under these limits, with what was counted here and what the store holds."""
        before = self._held.limits
        self._held = self._held.with_limits(limits)
        if (limits.store, limits.store_password) != (before.store, before.store_password):
            await self._keep(limits)

    async def _keep(self, limits: RateLimit) -> None:
        if self._keeper is not None:
            await self._keeper.close()
        self._keeper = None
        self._tell("")
        try:
            store = open_store(limits, self._namespace, self._name, os.environ)
        except SpecInvalid as error:
            _log.error("Budgets are kept in memory only: %s", error)
            self._tell(str(error))
            return
        if store is not None:
            self._keeper = BudgetKeeper(store, lambda: self._held, self._tell, process=self._process)
            await self._keeper.start()

    def _tell(self, problem: str) -> None:
        self._problem = problem
        self._store_up.set(0 if problem else 1)


class LimiterReplica(Limiter):
    """The limiter as a Ray Serve deployment, which ends with ``__del__``."""

    async def __del__(self) -> None:
        """Write what is not written yet."""
        await self.close()
