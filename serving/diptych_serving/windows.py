"""Counts that forget: fixed windows and token buckets."""

import math
from collections.abc import Hashable, MutableMapping
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Forgettable(Protocol):
    """A count that has no more to say after some time."""

    def is_over(self, now: float) -> bool:
        """Whether a fresh one would say the same."""


Key = TypeVar("Key", bound=Hashable)
Count = TypeVar("Count", bound=Forgettable)


@dataclass(slots=True)
class Window:
    """What was used since ``start``, in seconds of the caller's clock."""

    length_s: float
    start: float
    used: float = 0.0

    def left_s(self, now: float) -> float:
        """Return in how many seconds the window ends."""
        return self.start + self.length_s - now

    def is_over(self, now: float) -> bool:
        """Whether the window has ended."""
        return self.left_s(now) <= 0


@dataclass(slots=True)
class Bucket:
    """Tokens that come back steadily, ``size`` in ``period_s``; full at the start."""

    size: float
    period_s: float
    filled: float
    tokens: float = math.inf

    def fill(self, now: float) -> None:
        """Add what came back since the last call."""
        self.tokens = min(self.size, self.tokens + (now - self.filled) * self.size / self.period_s)
        self.filled = now

    def wait_s(self, amount: float) -> float:
        """Return in how many seconds there will be enough; infinite when there never will."""
        if amount > self.size:
            return math.inf
        return max(0.0, (amount - self.tokens) * self.period_s / self.size)

    def take(self, amount: float) -> None:
        """Use tokens."""
        self.tokens -= amount

    def is_over(self, now: float) -> bool:
        """Whether it is full again."""
        return now >= self.filled + self.period_s


def sweep(counts: MutableMapping[Key, Count], now: float) -> None:
    """Forget what is over, so that addresses that came once do not stay for ever."""
    for key in [key for key, count in counts.items() if count.is_over(now)]:
        del counts[key]
