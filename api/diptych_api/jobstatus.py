"""Status of a FineTuneJob."""

from typing import Literal

from pydantic import Field

from diptych_api.evaluation_report import GateDecision
from diptych_api.fields import Location, Record, Time
from diptych_api.report import ArtifactRef, CheckpointRef, Failure, MetricValue, Phase, SampleRef, Spent
from diptych_api.resource import Status

JobPhase = Literal[
    "Pending",
    "Provisioning",
    "Starting",
    "Running",
    "Retrying",
    "Suspending",
    "Suspended",
    "Succeeded",
    "Failed",
    "Cancelled",
]


class Progress(Record):
    """How far training is. Numbers are for people; exact values stand in the run store."""

    activity: Phase | None = Field(default=None, description="What the program does now.")
    step: int = Field(default=0, ge=0, le=10_000_000, description="Optimiser steps done.")
    total_steps: int = Field(default=0, ge=0, le=10_000_000, description="Optimiser steps in all.")
    percent: int = Field(default=0, ge=0, le=100, description="Share of the steps that is done, in percent.")
    done: int = Field(default=0, ge=0, le=2**31, description="Items done of an activity other than training.")
    total: int = Field(default=0, ge=0, le=2**31, description="Items in all of an activity other than training.")
    eta_seconds: float | None = Field(default=None, ge=0, description="Estimated seconds to the end of training.")
    loss: float | None = Field(default=None, description="Training loss, rounded to four digits.")
    val_loss: float | None = Field(default=None, description="Newest validation loss, rounded to four digits.")
    images_per_second: float | None = Field(
        default=None, ge=0, description="Pictures trained on in a second, all workers."
    )
    phases: list[Spent] = Field(default=[], max_length=16, description="Time of each phase, over all attempts.")
    parts: list[Spent] = Field(default=[], max_length=16, description="Time of each part of training.")
    bottleneck: str = Field(default="", max_length=1024, description="What takes most of training's time.")
    peak_memory_bytes: int | None = Field(
        default=None, ge=0, le=2**53, description="Most memory that the first worker's process had, in bytes."
    )
    peak_gpu_memory_bytes: int | None = Field(
        default=None, ge=0, le=2**53, description="Most GPU memory that the first worker's tensors took, in bytes."
    )
    last_updated_time: Time | None = Field(default=None, description="When the program last reported.")


class JobFailure(Failure):
    """Why the job, or its last attempt, ended, and in which pod."""

    pod: str = Field(default="", max_length=253, description="Pod in which it happened.")
    exit_code: int | None = Field(default=None, ge=-255, le=255, description="Exit code of the container.")


class Attempt(Record):
    """One finished attempt."""

    number: int = Field(ge=1, le=1000, description="Attempt, counted from 1.")
    reason: str = Field(default="", max_length=64, description="Why it ended, in CamelCase.")
    from_step: int = Field(default=0, ge=0, le=10_000_000, description="Optimiser step it started at.")
    to_step: int = Field(default=0, ge=0, le=10_000_000, description="Last optimiser step it reported.")
    start_time: Time | None = Field(default=None, description="When it began.")
    end_time: Time | None = Field(default=None, description="When it ended.")
    gpu_seconds: float = Field(default=0, ge=0, description="GPU seconds it used.")
    lost_seconds: float = Field(
        default=0,
        ge=0,
        description="Seconds from the newest checkpoint to its end, or from its beginning if it saved none; "
        "what it did then is done again, if another follows. 0 where it succeeded.",
    )


class RunningAttempt(Record):
    """The attempt that has not ended yet."""

    number: int = Field(ge=1, le=1000, description="Attempt, counted from 1.")
    from_step: int = Field(default=0, ge=0, le=10_000_000, description="Optimiser step it started at.")
    start_time: Time = Field(description="When it began; with a queue, when it was last let in.")
    provisioned_time: Time | None = Field(
        default=None, description="When all its pods were ready; GPUs count from then."
    )
    gpu_seconds: float = Field(default=0, ge=0, description="GPU seconds it used before it was last held back.")
    gpu_seconds_before: float = Field(default=0, ge=0, description="GPU seconds of the attempts before it.")
    head: str = Field(
        default="", max_length=64, description="The head pod that has the program: its uid and its restarts."
    )


class JobColumns(Record):
    """Short texts for the columns of `kubectl get`."""

    progress: str = Field(
        default="",
        max_length=16,
        description="Share of the steps that is done, such as 71%, or of what else is done: Captioning 12%.",
    )
    eta: str = Field(default="", max_length=16, description="Time left, such as 41s or 2h10m.")
    base: str = Field(default="", max_length=256, description="The base: name, repository or place.")


class FineTuneJobStatus(Status):
    """State of a job."""

    phase: JobPhase = Field(default="Pending", description="State in one word.")
    attempt: int = Field(default=0, ge=0, le=1000, description="Attempt that runs or ran last, counted from 1.")
    progress: Progress | None = Field(default=None, description="How far training is.")
    checkpoint: CheckpointRef | None = Field(default=None, description="Newest valid checkpoint.")
    samples: list[SampleRef] = Field(default=[], max_length=8, description="Newest pictures drawn on the way.")
    artifact: ArtifactRef | None = Field(default=None, description="The finished and checked artifact.")
    evaluation: list[MetricValue] = Field(default=[], max_length=64, description="Figures of base and tuned.")
    gate: GateDecision | None = Field(default=None, description="What the job's gates made of the artifact, and why.")
    published: list[Location] = Field(default=[], max_length=4, description="Where the artifact was made public.")
    attempts: list[Attempt] = Field(default=[], max_length=10, description="Last finished attempts, oldest first.")
    current: RunningAttempt | None = Field(default=None, description="The attempt that has not ended yet.")
    failures: int = Field(
        default=0, ge=0, le=1000, description="Failed attempts that count against retry.backoffLimit."
    )
    run: Location | None = Field(default=None, description="Folder of the run in the run store.")
    ray_job_name: str | None = Field(default=None, max_length=63, description="The RayJob of the job.")
    ray_cluster_name: str | None = Field(default=None, max_length=63, description="The RayCluster of the attempt.")
    gpus: int = Field(default=0, ge=0, le=16_384, description="GPUs of all workers together.")
    gpu_seconds: float = Field(default=0, ge=0, description="GPU seconds used by all attempts.")
    active_seconds: float = Field(
        default=0, ge=0, description="Seconds that finished attempts took together; counts for activeDeadlineSeconds."
    )
    start_time: Time | None = Field(default=None, description="When the first attempt began.")
    completion_time: Time | None = Field(default=None, description="When the job came to its end.")
    last_failure: JobFailure | None = Field(default=None, description="Why the last attempt failed.")
    columns: JobColumns = Field(default=JobColumns(), description="Texts for `kubectl get`.")
