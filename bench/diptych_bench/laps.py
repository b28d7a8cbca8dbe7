"""Where the time of training steps goes: laps by name, on the clock, waiting for a GPU at the end of each."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from threading import Lock
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Laps:
    """Seconds by name. Laps of other threads than the step's overlap with it."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    on_gpu: bool = False
    _door: Lock = field(default_factory=Lock)

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Count the body's time under ``name``."""
        began = time.perf_counter()
        yield
        if self.on_gpu:
            torch.cuda.synchronize()
        with self._door:
            self.seconds[name] += time.perf_counter() - began

    def timed(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with its calls counted under ``name``."""

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.lap(name):
                return function(*args, **kwargs)

        return call

    def taken(self) -> dict[str, float]:
        """Return the seconds so far and begin anew."""
        with self._door:
            taken, self.seconds = dict(self.seconds), defaultdict(float)
        return taken
