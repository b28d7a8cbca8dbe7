"""The figures of training steps, on their way from the device to the rows of metrics.jsonl."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from diptych_api.errors import NaNLoss
from diptych_training.letters import Row
from diptych_training.order import Order
from diptych_training.step import StepResult

RECENT_ROWS = 1000


@dataclass
class Meter:
    """Collects the figures of steps on the device and reads them only when somebody looks."""

    order: Order
    batch_size: int
    start_step: int
    checkpoint_step: int | None = None
    pending: list[tuple[int, StepResult, float]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    recent: deque[Row] = field(default_factory=lambda: deque(maxlen=RECENT_ROWS))
    """The newest rows, told or not: they travel with each checkpoint, in case the driver died before it wrote them."""
    started: float = field(default_factory=time.monotonic)
    paused: float = 0.0
    """Seconds of the pauses that have ended."""
    pause_began: float | None = None
    stop: bool = False
    """Whether any worker was asked to stop, as of the figures read so far."""
    skips_overflows: bool = False
    """Whether a step whose gradients are not finite leaves the weights as they are, as with fp16."""

    def add(self, step: int, result: StepResult, learning_rate: float) -> None:
        """Keep the figures of the step that made the count ``step``."""
        self.pending.append((step, result, learning_rate))

    def read(self) -> None:
        """Move pending figures into rows and learn whether any worker was asked to stop.

        Raises:
            NaNLoss: at the first step whose loss, or gradient that was used, is not finite, with its samples.

        """
        if not self.pending:
            return
        figures = torch.stack([torch.stack([r.loss, r.grad_norm, r.stop]) for _, r, _ in self.pending]).tolist()
        for (step, _, rate), (loss, norm, flag) in zip(self.pending, figures, strict=True):
            is_used = math.isfinite(norm) or not self.skips_overflows
            for name, value in {"loss": loss, "gradient": norm if is_used else 0}.items():
                if not math.isfinite(value):
                    self.pending.clear()
                    raise NaNLoss(self._nan(step, name, value))
            self.keep(Row(step, loss, norm if is_used else None, rate))
            self.stop = self.stop or flag > 0
        self.pending.clear()

    def _nan(self, step: int, name: str, value: float) -> str:
        keys = [visit.entry.key for visit in self.order.batch(step - 1, self.batch_size)][:8]
        last = self.checkpoint_step
        kept = "no checkpoint was saved" if last is None else f"checkpoint {last} is good"
        return f"The {name} became {value} at step {step}; samples of that step: {', '.join(keys)}; {kept}."

    def keep(self, row: Row) -> None:
        """Keep a row until it is told."""
        self.rows.append(row)
        self.recent.append(row)

    def take_rows(self) -> tuple[Row, ...]:
        """Return the rows since the last call."""
        rows, self.rows = tuple(self.rows), []
        return rows

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the time of the body out of the pace."""
        self.pause_began = time.monotonic()
        try:
            yield
        finally:
            self.paused += time.monotonic() - self.pause_began
            self.pause_began = None

    def pace(self, step: int, total_steps: int) -> tuple[float | None, float | None]:
        """Return images per second over all workers and the estimated seconds left, pauses left out."""
        done = step - self.start_step
        until = time.monotonic() if self.pause_began is None else self.pause_began
        seconds = until - self.started - self.paused
        if done <= 0 or seconds <= 0:
            return None, None
        return done * self.batch_size / seconds, (total_steps - step) * seconds / done


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean, summed without loss of precision."""
    return math.fsum(values) / len(values)
