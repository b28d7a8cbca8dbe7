"""How long a run has taken over all its attempts, and how long it may take on one machine."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from diptych_api.errors import DeadlineExceeded, GpuBudgetExceeded, Interrupted, RunFailed
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.report import Report

POLL_S = 0.3


@dataclass
class Clock:
    """Counts the seconds of a run, and those in which it holds GPUs. What lies between two attempts is not counted."""

    gpus: int = 0
    active_before: float = 0
    gpu_before: float = 0
    now: Callable[[], float] = time.monotonic
    held: float | None = None
    """When the GPUs were taken."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds of each phase, over all attempts."""
    seen: float = field(init=False)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin."""
        self.began = self.seen = self.now()

    @classmethod
    def after(cls, earlier: Report | None, spec: FineTuneJobSpec, now: Callable[[], float] = time.monotonic) -> "Clock":
        """Return the clock of an attempt that follows the one that left this report."""
        gpus = spec.resources.workers * spec.resources.gpus_per_worker
        before = (earlier.active_seconds, earlier.gpu_seconds) if earlier else (0.0, 0.0)
        phases = {phase.name: phase.seconds for phase in earlier.phases} if earlier else {}
        return cls(gpus, *before, now, phases=phases)

    def hold_gpus(self) -> None:
        """Count GPU seconds from now on."""
        self.held = self.now()

    def passed(self, phase: str) -> None:
        """Count the time since the last call for this phase."""
        now = self.now()
        self.phases[phase] = self.phases.get(phase, 0) + now - self.seen
        self.seen = now

    @property
    def active_seconds(self) -> float:
        """Seconds of all attempts."""
        return round(self.active_before + self.now() - self.began, 1)

    @property
    def gpu_seconds(self) -> float:
        """GPU seconds of all attempts."""
        own = 0 if self.held is None else self.gpus * (self.now() - self.held)
        return round(self.gpu_before + own, 1)


def exceeded(spec: FineTuneJobSpec, clock: Clock) -> RunFailed | None:
    """Return which limit of the job is reached, if one is."""
    deadline, budget = spec.active_deadline_seconds, spec.max_gpu_seconds
    if deadline is not None and clock.active_seconds >= deadline:
        message = f"The run took longer than {deadline} s, its activeDeadlineSeconds."
        return DeadlineExceeded(message, hint="Raise spec.activeDeadlineSeconds and run again to go on.")
    if budget is not None and clock.gpus and clock.gpu_seconds >= budget:
        message = f"The run used its {budget} GPU seconds, as maxGpuSeconds says."
        return GpuBudgetExceeded(message, hint="Raise spec.maxGpuSeconds and run again to go on.")
    return None


@contextmanager
def kept_within(spec: FineTuneJobSpec, clock: Clock, stop: threading.Event) -> Iterator[None]:
    """Ask the body to stop once a limit of the job is reached, so that it saves what it has.

    Raises:
        DeadlineExceeded, GpuBudgetExceeded: in place of the Interrupted that follows, or at once where there is nothing
            left.

    """
    if (error := exceeded(spec, clock)) is not None:
        raise error
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_S):
            if exceeded(spec, clock) is not None:
                stop.set()
                return

    watcher = threading.Thread(target=watch, name="limits", daemon=True)
    watcher.start()
    try:
        yield
    except Interrupted as interrupted:
        if (error := exceeded(spec, clock)) is not None:
            raise error from interrupted
        raise
    finally:
        done.set()
        watcher.join()
