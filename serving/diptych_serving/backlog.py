"""What a replica has taken in: who waits, how much work is left, how fast it goes. Time comes from the caller."""

import math
from dataclasses import dataclass
from typing import Final

from diptych_api.limits import Limits
from diptych_serving.image_request import ImageRequest
from diptych_serving.refusals import Code, Refused

MEMORY_S: Final = 30.0
UNKNOWN_S: Final = 2.0
"""When to try again while no speed was measured."""


@dataclass(eq=False, slots=True)
class Entry:
    """A request that was taken in. It waits until its first step is done, unless there were free rows for it."""

    request: ImageRequest
    waits: bool
    share_left: float = 1.0

    @property
    def work_left(self) -> float:
        """Work units that are not drawn yet."""
        return self.request.work_units * self.share_left


class Speed:
    """Work units in a second of drawing, over about the last half minute."""

    def __init__(self) -> None:
        self._units = 0.0
        self._seconds = 0.0
        self._last = 0.0

    def wake(self, now: float) -> None:
        """Begin to draw after a rest, which does not count."""
        self._last = now

    def add(self, work_units: float, now: float) -> None:
        """Count work that is done."""
        passed = max(0.0, now - self._last)
        kept = math.exp(-passed / MEMORY_S)
        self._units = self._units * kept + work_units
        self._seconds = self._seconds * kept + passed
        self._last = now

    def seconds_for(self, work_units: float) -> float | None:
        """Return how long work takes, or None while nothing was measured."""
        return work_units * self._seconds / self._units if self._units else None


class Backlog:
    """The requests of one replica. Not safe for threads: one event loop holds it."""

    def __init__(self) -> None:
        self._entries: set[Entry] = set()
        self._waiting: set[Entry] = set()
        self._rows = 0
        self._waiting_work = 0.0
        self._speed = Speed()

    @property
    def work_left(self) -> float:
        """Work units that were taken in and are not drawn yet."""
        return sum(entry.work_left for entry in self._entries)

    def enter(self, request: ImageRequest, limits: Limits, max_rows: int, now: float) -> Entry:
        """Take in a request, at once where rows are free. Raises Refused when it would have to wait and may not."""
        waits = bool(self._entries) and self._rows + request.rows > max_rows
        if waits:
            self._check_room(request, limits)
        if not self._entries:
            self._speed.wake(now)
        entry = Entry(request, waits)
        self._entries.add(entry)
        self._rows += request.rows
        if waits:
            self._waiting.add(entry)
            self._waiting_work += request.work_units
        return entry

    def progressed(self, entry: Entry, share_done: float, now: float) -> None:
        """Hear how much of a request is drawn, from 0 to 1."""
        before = entry.work_left
        entry.share_left = 1.0 - share_done
        self._speed.add(before - entry.work_left, now)
        self._wait_no_more(entry)

    def leave(self, entry: Entry) -> None:
        """Forget a request that is done, or was given up."""
        self._wait_no_more(entry)
        self._entries.discard(entry)
        self._rows -= entry.request.rows

    def _wait_no_more(self, entry: Entry) -> None:
        if entry in self._waiting:
            self._waiting.discard(entry)
            self._waiting_work = self._waiting_work - entry.request.work_units if self._waiting else 0.0

    def _check_room(self, request: ImageRequest, limits: Limits) -> None:
        """Raise Refused when as many wait as may, or as much work; one request may wait whatever its work."""
        count, work = len(self._waiting), self._waiting_work
        if count >= limits.max_queue:
            message = f"{count} requests wait already on this replica; {limits.max_queue} may."
            raise self._full(message, self.work_left / len(self._entries))
        excess = work + request.work_units - limits.max_queued_work_units
        if count and excess > 0:
            message = f"{work:.4g} work units wait already on this replica; {limits.max_queued_work_units:g} may."
            raise self._full(message, excess)

    def _full(self, message: str, excess: float) -> Refused:
        """Return the refusal; ``excess`` is the work that has to be done before there is room."""
        wait_s = self._speed.seconds_for(excess)
        retry_after_s = UNKNOWN_S if wait_s is None else max(1.0, wait_s)
        return Refused(Code.LIMITED, message, "Try again.", reason="QueueFull", retry_after_s=retry_after_s)
