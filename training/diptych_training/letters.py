"""What workers tell the driver. Free of torch, so that the processes between them start fast."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from diptych_api.errors import DiptychError
from diptych_api.evaluation_report import GateDecision
from diptych_api.report import ArtifactRef, MetricValue, Phase
from diptych_api.training import EarlyStopping


class Ending(StrEnum):
    """Why a worker group has ended, without an error."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    LEAVING = "leaving"
    """One of its nodes is about to go; all is saved."""


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one optimiser step, or of one validation after it."""

    step: int
    loss: float | None = None
    grad_norm: float | None = None
    learning_rate: float | None = None
    val_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the validation loss so far."""

    first: float | None = None
    last: float | None = None
    best: float | None = None
    best_step: int = 0
    without_improvement: int = 0

    def after(self, step: int, loss: float, rule: EarlyStopping) -> "Standing":
        """Return the standing once ``loss`` was measured after ``step`` optimiser steps."""
        if self.best is None or loss < self.best - rule.min_delta:
            first = loss if self.first is None else self.first
            return Standing(first=first, last=loss, best=loss, best_step=step)
        return replace(self, last=loss, without_improvement=self.without_improvement + 1)

    def is_over(self, rule: EarlyStopping) -> bool:
        """Return whether patience has run out."""
        return rule.enabled and self.without_improvement > rule.patience


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of training at one moment, as it leaves the worker."""

    step: int
    total_steps: int
    epoch: int
    standing: Standing
    images_per_second: float | None
    eta_seconds: float | None
    rows: tuple[Row, ...] = ()
    checkpoint_step: int | None = None
    sample_step: int | None = None
    """Step of the newest pictures drawn on the way."""
    remark: str = ""
    """What people should hear."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each part of training on the first worker."""
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    """How far a phase other than training is."""

    phase: Phase
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What a complete run leaves behind."""

    artifact: ArtifactRef
    metrics: tuple[MetricValue, ...]
    gate: GateDecision | None = None


Letter = Progress | PhaseProgress | DiptychError
Tell = Callable[[Progress], bool]
"""Takes the progress; returns whether the run should stop."""
