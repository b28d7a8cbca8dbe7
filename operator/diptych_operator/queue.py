"""Keys that wait for their turn: each once, never two workers on one, later ones by the clock of the event loop."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
SPARE: Final = 64
"""Times that count no more and are kept all the same: dropping them costs a look at all."""


class Queue(Generic[KeyT]):
    """As client-go's work queue: a key that is woken while it is worked on comes again afterwards."""

    def __init__(self, on_wait: Callable[[float], None] = lambda _: None) -> None:
        self._ready: deque[KeyT] = deque()
        self._since: dict[KeyT, float] = {}
        """Keys that wait, and from when on."""
        self._busy: set[KeyT] = set()
        self._again: set[KeyT] = set()
        self._due: dict[KeyT, float] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._order = 0
        self._changed = asyncio.Event()
        self._on_wait = on_wait

    def __len__(self) -> int:
        """Return how many keys wait for a worker now."""
        return len(self._ready)

    def add(self, key: KeyT) -> None:
        """Wake a key now."""
        self._due.pop(key, None)
        if key in self._busy:
            self._again.add(key)
        elif key not in self._since:
            self._since[key] = _now()
            self._ready.append(key)
            self._changed.set()

    def add_after(self, key: KeyT, delay_s: float) -> None:
        """Wake a key later; of several times the earliest counts."""
        if delay_s <= 0:
            self.add(key)
            return
        due = _now() + delay_s
        if key in self._since or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))
        self._drop_stale()
        self._changed.set()

    async def get(self) -> KeyT:
        """Return the next key, which is this worker's until `done`."""
        while True:
            self._wake_due()
            if self._ready:
                key = self._ready.popleft()
                self._on_wait(_now() - self._since.pop(key))
                self._busy.add(key)
                return key
            self._changed.clear()
            await self._until_changed()

    def done(self, key: KeyT) -> None:
        """Give a key back."""
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _wake_due(self) -> None:
        now = _now()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                self.add(key)

    def _drop_stale(self) -> None:
        """Forget times that count no more: a key that is woken often and is due in days would leave one each time."""
        if len(self._heap) > 2 * len(self._due) + SPARE:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    async def _until_changed(self) -> None:
        timeout = max(self._heap[0][0] - _now(), 0) if self._heap else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return


def _now() -> float:
    return asyncio.get_running_loop().time()
