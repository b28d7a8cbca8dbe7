"""How fast pictures came lately."""

import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from diptych_api.readiness import SpeedReadiness
from diptych_serving.records import DRAWN, Record

WINDOW_S: Final = 600.0
MOST: Final = 10_000


class Speed:
    """Remembers the requests of the last ten minutes that were answered with pictures."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._drawn: deque[tuple[float, float, int]] = deque(maxlen=MOST)
        """When each ended, its seconds and its pictures."""

    def take(self, record: Record) -> None:
        """Hear how a request ended."""
        if record.outcome == DRAWN:
            self._drawn.append((self._clock(), record.seconds, record.pictures))

    def told(self) -> SpeedReadiness:
        """Return the figures; empty where nothing was drawn."""
        now = self._clock()
        while self._drawn and self._drawn[0][0] < now - WINDOW_S:
            self._drawn.popleft()
        if not self._drawn:
            return SpeedReadiness()
        seconds = sorted(drawn[1] for drawn in self._drawn)
        p95 = seconds[0] if len(seconds) == 1 else statistics.quantiles(seconds, n=20, method="inclusive")[-1]
        window_s = max(min(WINDOW_S, now - self._began), 1.0)
        pictures = sum(drawn[2] for drawn in self._drawn)
        return SpeedReadiness(
            p50_seconds=round(statistics.median(seconds), 4),
            p95_seconds=round(p95, 4),
            images_per_minute=round(60 * pictures / window_s, 3),
        )
