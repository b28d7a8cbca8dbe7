"""Day and month budgets that survive a restart: read at the start, written soon after each change.

Nobody waits for the store: while it is away, requests go on under the counts in memory. What it holds is never
overwritten before it was read; what was counted meanwhile is added to it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diptych_serving.budget_store import LARGEST, BudgetStore
from diptych_serving.rate_limit import RateLimiter

PAUSE_S: Final = 1.0
"""Between two writes; what a kill -9 can cost."""
TIMEOUT_S: Final = 5.0
_log = logging.getLogger(__name__)


class Strict(BaseModel):
    """A part of the file, which anybody may have written."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class SavedCount(Strict):
    """What was used since ``start``, in seconds since 1970."""

    reason: str = Field(max_length=64)
    start: float = Field(ge=0)
    used: float = Field(ge=0)


class SavedBudgets(Strict):
    """What is in the store."""

    version: Literal[1] = 1
    process: str = Field(max_length=64)
    """Which limiter wrote it: what it wrote itself it has still in memory."""
    counts: list[SavedCount] = Field(max_length=64)


class BudgetKeeper:
    """Carries the budgets of ``limiter()`` over restarts. ``tell`` hears what is wrong with the store, or ``""``."""

    def __init__(
        self,
        store: BudgetStore,
        limiter: Callable[[], RateLimiter],
        tell: Callable[[str], None],
        *,
        process: str,
    ) -> None:
        self._store = store
        self._limiter = limiter
        self._tell = tell
        self._process = process
        self._problem = ""
        self._was_read = False
        self._is_changed = False
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Try once to read what is kept, then keep what changes, in the background."""
        await self._try("read", self._read)
        self._task = asyncio.create_task(self._keep())

    def changed(self) -> None:
        """Hear that something was counted."""
        self._is_changed = True

    async def close(self) -> None:
        """Write what is not written yet. Nothing is cancelled: redis-py goes on when it is."""
        self._closing.set()
        if self._task is not None:
            await self._task
        if self._was_read and self._is_changed:
            await self._try("written", self._write)
        with suppress(Exception):
            await self._store.close()

    async def _keep(self) -> None:
        while not self._closing.is_set():
            if not self._was_read:
                await self._try("read", self._read)
            elif self._is_changed:
                await self._try("written", self._write)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), PAUSE_S)

    async def _try(self, what: str, act: Callable[[], Any]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await act()
        except Exception as error:  # noqa: BLE001 -- each store's package raises kinds of its own
            why = str(error) or type(error).__name__
            self._note(f"The store of the rate limits cannot be {what}: {why}. Counts are in memory only.")
        else:
            self._note("")

    def _note(self, problem: str) -> None:
        """Tell of a change, once."""
        if bool(problem) != bool(self._problem):
            _log.log(logging.ERROR if problem else logging.WARNING, problem or "The store of the rate limits is back.")
        self._problem = problem
        self._tell(problem)

    async def _read(self) -> None:
        data = await self._store.read()
        if data is not None:
            try:
                saved = decode(data)
            except ValueError as error:
                _log.error("The stored budgets are damaged, so they begin anew: %s", error)
                with suppress(Exception):
                    await self._store.set_aside()
            else:
                if saved.process != self._process:
                    self._limiter().restore([count.model_dump() for count in saved.counts], time.time())
        self._was_read = True

    async def _write(self) -> None:
        counts = [SavedCount(**count) for count in self._limiter().snapshot()]
        self._is_changed = False
        try:
            await self._store.write(SavedBudgets(process=self._process, counts=counts).model_dump_json().encode())
        except BaseException:
            self._is_changed = True
            raise


def decode(data: bytes) -> SavedBudgets:
    """Return what was saved. Raises ValueError that tells what is wrong, without what it holds."""
    if len(data) > LARGEST:
        raise ValueError(f"it is longer than {LARGEST} bytes")
    try:
        return SavedBudgets.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where or 'JSON'}: {first['msg']}") from None
