"""What training steps cost: clocks that are read at the loop's own reports, in a bare process or in a Ray worker."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self
from unittest import mock

from diptych_bench.figures import Spread
from diptych_bench.processes import cpu_seconds, tree
from diptych_training.letters import Ending, Letter, Progress
from diptych_training.mailbox import Sender
from diptych_training.worker import WorkerConfig

MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Stamp:
    """The clocks after a step: the wall's, and the CPU seconds of each process below the driver, itself included."""

    step: int
    wall_s: float
    cpu_s: dict[str, float]


@dataclass
class Stamps:
    """The clocks at the loop's reports, from step ``first`` until before step ``last``."""

    driver: int
    first: int
    last: int
    kept: list[Stamp] = field(default_factory=list)

    def add(self, letter: Letter) -> None:
        """Read the clocks."""
        if isinstance(letter, Progress) and self.first <= letter.step < self.last:
            cpu_s = {str(pid): seconds for pid, seconds in cpu_seconds(tree(self.driver)).items()}
            self.kept.append(Stamp(letter.step, time.monotonic(), cpu_s))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step took, in milliseconds."""

    trainer_cpu_ms: float
    others_cpu_ms: float
    wall_ms: Spread
    """Of a step, over the times between reports."""

    @property
    def cpu_ms(self) -> float:
        """CPU of all processes."""
        return self.trainer_cpu_ms + self.others_cpu_ms

    @classmethod
    def of(cls, stamps: list[Stamp], trainer: int) -> Self:
        """Return the cost between the first stamp and the last; ``trainer`` is the process with the loop."""
        first, last = stamps[0], stamps[-1]
        cpu_s = {pid: seconds - first.cpu_s.get(pid, 0.0) for pid, seconds in last.cpu_s.items()}
        per_step = MILLISECONDS / (last.step - first.step)
        trainer_s = cpu_s.pop(str(trainer))
        wall = [MILLISECONDS * (b.wall_s - a.wall_s) / (b.step - a.step) for a, b in pairwise(stamps)]
        return cls(round(trainer_s * per_step, 2), round(sum(cpu_s.values()) * per_step, 2), Spread.of(wall))


def train_stamped(config: WorkerConfig, stamps: Stamps, file: Path) -> Ending:
    """Train as a Ray worker does, and write the clocks to ``file``. Runs in the worker."""
    from diptych_training import worker_loop  # noqa: PLC0415 - the controller, which reads this, need not load torch

    class StampingSender(Sender):
        def __call__(self, letter: Letter) -> bool:
            stamps.add(letter)
            return super().__call__(letter)

    with mock.patch.object(worker_loop, "Sender", StampingSender):
        ending = worker_loop.train_share(config["share"], config["mailbox"])
    values = {"worker": os.getpid(), "stamps": [asdict(stamp) for stamp in stamps.kept]}
    file.write_text(json.dumps(values), encoding="utf-8")
    return ending


def written_cost(file: Path) -> Cost:
    """Return the cost from the clocks that a worker wrote down."""
    values = json.loads(file.read_text(encoding="utf-8"))
    return Cost.of([Stamp(**stamp) for stamp in values["stamps"]], values["worker"])
