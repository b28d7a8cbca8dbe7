"""Where the time of training goes, by part of a step."""

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

Part = Literal["data", "text", "unet", "exchange", "optimiser", "logging", "validation", "pictures", "checkpoint"]
Lap = Callable[[Part], AbstractContextManager[None]]
"""Measures its body as a part."""


def untimed(_part: Part) -> AbstractContextManager[None]:
    """Measure nothing."""
    return nullcontext()


class Stopwatch:
    """Adds up the seconds of each part.

    A GPU works behind the program, so there both ends of a part are marks in its own queue: nothing waits for it, and
    what the program does while the GPU is busy anyway costs nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self.is_cuda = device.type == "cuda"
        self.seconds: defaultdict[Part, float] = defaultdict(float)
        self.marks: list[tuple[Part, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def lap(self, part: Part) -> Iterator[None]:
        """Measure the body; parts may not lie within each other."""
        if self.is_cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self.marks.append((part, begin, end))
            return
        began = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - began

    def read(self) -> dict[str, float]:
        """Return the seconds of each part, as far as the GPU has come."""
        while self.marks and self.marks[0][2].query():
            part, begin, end = self.marks.pop(0)
            self.seconds[part] += begin.elapsed_time(end) / 1000
        return {part: round(spent, 3) for part, spent in self.seconds.items()}

    def reset(self) -> None:
        """Forget what was measured, as after a first step, which sets up what later ones reuse."""
        self.seconds.clear()
        self.marks.clear()


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak_gpu_memory(device: torch.device) -> int | None:
    """Return the most memory that tensors have taken on a GPU, in bytes; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
