"""Waiting for what is to come."""

import time
from collections.abc import Callable

PATIENCE_S = 180
"""Longer than anything takes while others work on the machine, and shorter than a look at everything (300 s)."""


def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S, *, every_s: float = 0.05) -> None:
    """Wait until the condition holds. Raises AssertionError when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(every_s)
