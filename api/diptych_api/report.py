"""Report: what a running job says of itself."""

from typing import Literal

from pydantic import Field

from diptych_api.evaluation_report import GateDecision
from diptych_api.fields import Location, Record, Text, Time

Phase = Literal[
    "Pending",
    "Preparing",
    "Captioning",
    "Caching",
    "Training",
    "Evaluating",
    "Gating",
    "Exporting",
    "Publishing",
    "Succeeded",
    "Failed",
    "Suspended",
    "Cancelled",
]


class Failure(Record):
    """Why a run ended, in words for machines and for people."""

    reason: str = Field(
        pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=64, description="CamelCase reason, one of the error names."
    )
    message: str = Field(default="", max_length=2048, description="What was wrong, and where.")
    hint: str = Field(default="", max_length=1024, description="What to do about it.")
    step: int | None = Field(default=None, ge=0, le=10_000_000, description="Optimiser step at which it happened.")


class CheckpointRef(Record):
    """The newest valid checkpoint."""

    step: int = Field(ge=0, le=10_000_000, description="Optimiser step it holds.")
    uri: Location = Field(description="Where it is.")
    time: Time = Field(description="When it was complete.")


class ArtifactRef(Record):
    """The finished artifact."""

    uri: Location = Field(description="Where it is.")
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71, description="Digest over its files.")
    size_bytes: int = Field(ge=0, le=2**53, description="Bytes of all its files.")
    trainable_parameters: int = Field(ge=0, le=2**53, description="Parameters that were trained.")


class SampleRef(Record):
    """A picture drawn on the way."""

    step: int = Field(ge=0, le=10_000_000, description="Optimiser step.")
    uri: Location = Field(description="Where the picture is.")


class Spent(Record):
    """Time that something took."""

    name: Text = Field(description="What took it.")
    seconds: float = Field(ge=0, le=1e12, description="How long.")


class MetricValue(Record):
    """One figure of the evaluation."""

    name: Text = Field(description="Metric.")
    base: float | None = Field(default=None, description="Value of the base.")
    tuned: float | None = Field(default=None, description="Value of the tuned model.")
    n: int = Field(default=0, ge=0, le=2**31, description="Number of samples behind the value.")
    unit: str = Field(default="", max_length=32, description="Unit, empty for none.")


class Report(Record):
    """The state of a run at one moment."""

    phase: Phase = Field(description="What the run is doing.")
    step: int = Field(default=0, ge=0, le=10_000_000, description="Optimiser steps done.")
    total_steps: int = Field(default=0, ge=0, le=10_000_000, description="Optimiser steps in all.")
    epoch: int = Field(default=0, ge=0, le=10_000_000, description="Passes over the training samples that were begun.")
    loss: float | None = Field(default=None, description="Training loss, mean since the last report.")
    val_loss: float | None = Field(default=None, description="Newest validation loss.")
    first_val_loss: float | None = Field(default=None, description="Validation loss before the first step.")
    best_val_loss: float | None = Field(default=None, description="Lowest validation loss.")
    learning_rate: float | None = Field(default=None, description="Learning rate of the last step.")
    images_per_second: float | None = Field(
        default=None, ge=0, description="Pictures trained on in a second, all workers."
    )
    eta_seconds: float | None = Field(default=None, ge=0, description="Estimated seconds to the end of training.")
    phases: list[Spent] = Field(default=[], max_length=16, description="Time of each phase, over all attempts.")
    parts: list[Spent] = Field(
        default=[],
        max_length=16,
        description="Time of each part of training on the first worker, in this attempt without its first step.",
    )
    bottleneck: str = Field(default="", max_length=1024, description="What takes most of training's time.")
    peak_memory_bytes: int | None = Field(
        default=None, ge=0, le=2**53, description="Most memory that the first worker's process had, in bytes."
    )
    peak_gpu_memory_bytes: int | None = Field(
        default=None, ge=0, le=2**53, description="Most GPU memory that the first worker's tensors took, in bytes."
    )
    pictures: int = Field(default=0, ge=0, le=2**31, description="Usable pictures.")
    bad_pictures: int = Field(default=0, ge=0, le=2**31, description="Pictures left out because they cannot be read.")
    done: int = Field(default=0, ge=0, le=2**31, description="Items done in a phase other than training.")
    total: int = Field(default=0, ge=0, le=2**31, description="Items in all in a phase other than training.")
    message: str = Field(default="", max_length=1024, description="One sentence about what happens now.")
    attempt: int = Field(default=1, ge=1, le=1000, description="Attempt, counted from 1.")
    active_seconds: float = Field(default=0, ge=0, le=1e12, description="Seconds that the run took, over all attempts.")
    gpu_seconds: float = Field(default=0, ge=0, le=1e12, description="GPU seconds that it used, over all attempts.")
    checkpoint: CheckpointRef | None = Field(default=None, description="Newest valid checkpoint.")
    samples: list[SampleRef] = Field(default=[], max_length=8, description="Newest pictures drawn on the way.")
    artifact: ArtifactRef | None = Field(default=None, description="The finished artifact.")
    metrics: list[MetricValue] = Field(default=[], max_length=64, description="Figures of the evaluation.")
    gate: GateDecision | None = Field(default=None, description="Whether the artifact was promoted, and why.")
    published: list[Location] = Field(default=[], max_length=4, description="Where the artifact was made public.")
    failure: Failure | None = Field(default=None, description="Why the run ended, when it failed.")
    time: Time = Field(description="When this was said.")
