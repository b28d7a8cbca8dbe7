"""Waiting for what is to come."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], timeout_s: float = 60, *, every_s: float = 0.01) -> None:
    """Wait until the condition holds. Raises AssertionError when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(every_s)
