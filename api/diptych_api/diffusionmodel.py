"""DiffusionModel: the name under which good artifacts are promoted."""

from typing import Literal

from pydantic import Field

from diptych_api.fields import Digest, Location, Model, Record, Text, Time
from diptych_api.report import MetricValue
from diptych_api.resource import Resource, Status

ModelPhase = Literal["Empty", "Ready", "Pinned", "PinMissing"]
RUN_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?-[0-9a-f]{8}$"


class DiffusionModelSpec(Model):
    """What people want the name to stand for."""

    pin: str | None = Field(
        default=None,
        pattern=RUN_PATTERN,
        max_length=49,
        description="Run that the name stands for, whatever is promoted; null follows promotion.",
    )
    policy: Literal["Automatic", "Manual"] = Field(
        default="Automatic",
        description="Automatic: an artifact that meets its gates becomes current. Manual: it waits as the candidate.",
    )
    history_limit: int = Field(default=10, ge=1, le=50, description="Versions that are remembered in the status.")


class ModelVersion(Record):
    """An artifact that was promoted, with the evidence for it."""

    run: Text = Field(description="Name of the run.")
    job: Text | None = Field(default=None, description="Name of the FineTuneJob.")
    uri: Location = Field(description="Folder of the artifact.")
    digest: Digest = Field(description="Digest over its files.")
    metrics: list[MetricValue] = Field(default=[], max_length=64, description="Figures that the gates saw.")
    promoted_at: Time = Field(description="When it became current.")
    promoted_by: str = Field(default="", max_length=256, description="The job's gates, or the person.")


class ModelPointer(Record):
    """models/<name>/current.json: what a name stands for on one machine; twin of the object's pin and status."""

    format: Literal["diptych.model/1"] = Field(default="diptych.model/1", description="Form of this file.")
    pin: Text | None = Field(default=None, description="Run that it stands for, whatever is promoted.")
    current: ModelVersion | None = Field(default=None, description="Version that it stands for.")
    previous: ModelVersion | None = Field(default=None, description="Version before it, to roll back to.")
    history: list[ModelVersion] = Field(
        default=[], max_length=50, description="Versions that were promoted, newest first."
    )


class Consideration(Record):
    """A run that was looked at once, and what came of it."""

    run: Text = Field(description="Name of the run.")
    job: Text = Field(description="Name of the FineTuneJob.")
    completed_at: Time = Field(description="When the job was done.")
    outcome: Literal["Promoted", "Candidate", "Rejected"] = Field(description="What came of it.")
    message: str = Field(default="", max_length=512, description="Why.")


class ModelColumns(Record):
    """Short texts for the columns of `kubectl get`."""

    score: str = Field(default="", max_length=64, description="First gate's metric and its change.")


class DiffusionModelStatus(Status):
    """What the name stands for now."""

    phase: ModelPhase = Field(default="Empty", description="State in one word.")
    current: ModelVersion | None = Field(default=None, description="Version that deployments follow.")
    previous: ModelVersion | None = Field(default=None, description="Version before it, to roll back to.")
    candidate: ModelVersion | None = Field(default=None, description="Version that waits for a person's word.")
    history: list[ModelVersion] = Field(
        default=[], max_length=50, description="Versions that were promoted, newest first."
    )
    considered: list[Consideration] = Field(
        default=[], max_length=50, description="Runs that were looked at, newest first; none is looked at twice."
    )
    considered_before: Time | None = Field(
        default=None, description="Runs that were done by then count as looked at, though they are listed no more."
    )
    columns: ModelColumns = Field(default=ModelColumns(), description="Texts for `kubectl get`.")


class DiffusionModel(Resource):
    """A name that stands for the best adapter so far; deployments follow it."""

    kind: Literal["DiffusionModel"] = Field(default="DiffusionModel", description="Kind of the object.")
    spec: DiffusionModelSpec = Field(default=DiffusionModelSpec(), description="What people want.")
    status: DiffusionModelStatus = Field(default=DiffusionModelStatus(), description="What the name stands for now.")
