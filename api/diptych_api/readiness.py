"""What `/ready` answers: how far a deployment is, for people, probes and the operator."""

from pydantic import ConfigDict, Field

from diptych_api.deploymentstatus import AdapterState
from diptych_api.fields import Record, Text

MOST_NOTES = 64
LONGEST = 4096


class _Answer(Record):
    """A part of the answer; its names are those of Python, as everywhere in the HTTP API."""

    model_config = ConfigDict(alias_generator=None)


class AdapterReadiness(_Answer):
    """How an adapter is on the engine replica that is worst off."""

    state: AdapterState = Field(description="Waiting, Loading, Loaded or finally Failed.")
    message: str = Field(default="", max_length=LONGEST, description="Why it waits or failed.")
    digest: str | None = Field(default=None, max_length=128, description="Digest of its weights.")
    step: int | None = Field(default=None, ge=0, le=10_000_000, description="Optimiser step of its weights.")
    mark: str = Field(default="", max_length=64, description="Of the files that this is told of.")


class SpeedReadiness(_Answer):
    """How fast the pictures of the last ten minutes came, those of jobs left out; empty where there were none."""

    p50_seconds: float | None = Field(default=None, ge=0, description="Half of the requests took no longer.")
    p95_seconds: float | None = Field(default=None, ge=0, description="95 % of the requests took no longer.")
    images_per_minute: float | None = Field(default=None, ge=0, description="Pictures in a minute.")


class StartReadiness(_Answer):
    """Where the time of an engine's start went."""

    pod: str = Field(max_length=256, description="Machine or pod that it is on.")
    ready: float = Field(description="When it was ready, in seconds since 1970.")
    weights_seconds: float = Field(ge=0, description="Seconds for the weights.")
    warmup_seconds: float = Field(ge=0, description="Seconds from weights to being ready.")


class Readiness(_Answer):
    """The answer of `/ready`."""

    ready: bool = Field(description="The base is loaded, and each adapter is loaded or has finally failed.")
    replicas: int = Field(default=0, ge=0, le=1024, description="Engine replicas that were heard of lately.")
    base_digest: str | None = Field(default=None, max_length=128, description="Digest of the base's weights.")
    safety_checker: bool = Field(default=False, description="Whether the base has one.")
    adapters: dict[Text, AdapterReadiness] = Field(default={}, max_length=64, description="The adapters by name.")
    performance: SpeedReadiness = Field(default=SpeedReadiness(), description="How fast pictures came lately.")
    start: StartReadiness | None = Field(default=None, description="Of the engine that was ready first.")
    notes: list[str] = Field(default=[], max_length=MOST_NOTES, description="What somebody should know.")
