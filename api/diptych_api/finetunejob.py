"""FineTuneJob: what to learn, from what, how good is good enough."""

from typing import ClassVar, Literal

from pydantic import Field

from diptych_api.after import Evaluation, Export, Promotion, Publish, Tracking
from diptych_api.cluster import Resources
from diptych_api.dataset import Dataset
from diptych_api.fields import Model
from diptych_api.jobstatus import FineTuneJobStatus
from diptych_api.resource import Resource
from diptych_api.rules import rule
from diptych_api.sources import Base, Output
from diptych_api.training import LoRA, Method, Training, UNet

Preset = Literal["lora-r4", "lora-r16", "style-r8", "flickr30k-full", "flowers-scratch"]
PRESET_METHODS: dict[Preset, Method] = {"flickr30k-full": "FullUNet", "flowers-scratch": "FromScratch"}
PRESET_METHOD_CEL = (
    "(self.preset == 'flickr30k-full' ? 'FullUNet' : self.preset == 'flowers-scratch' ? 'FromScratch' : 'LoRA')"
)
_LENGTH = "(has(self.unet.{0}) ? size(self.unet.{0}) : 4)"
METHOD_CEL = f"(has(self.method) ? self.method : has(self.preset) ? {PRESET_METHOD_CEL} : 'LoRA')"


class Retry(Model):
    """What happens after a failure that may pass."""

    backoff_limit: int = Field(
        default=2, ge=0, le=20, description="Further attempts; each goes on from the last checkpoint."
    )


class FineTuneJobSpec(Model):
    """Everything a job is made of. Fixed once created, but for suspend, ttlSecondsAfterFinished and maxGpuSeconds."""

    mutable: ClassVar[frozenset[str]] = frozenset({"suspend", "ttl_seconds_after_finished", "max_gpu_seconds"})

    preset: Preset | None = Field(default=None, description="Defaults of a known recipe; fields that are set win.")
    base: Base = Field(description="The model to start from.")
    method: Method = Field(
        default="LoRA",
        description="LoRA learns an adapter, FullUNet every weight of the UNet, FromScratch a new UNet.",
    )
    lora: LoRA = Field(default=LoRA(), description="Shape of the adapter; LoRA only.")
    unet: UNet | None = Field(default=None, description="Shape of the new UNet; FromScratch only.")
    dataset: Dataset = Field(description="What to learn from.")
    training: Training = Field(default=Training(), description="How to learn.")
    evaluation: Evaluation = Field(default=Evaluation(), description="How base and tuned are compared.")
    promotion: Promotion | None = Field(default=None, description="What a good artifact may become.")
    tracking: Tracking | None = Field(default=None, description="Who is told.")
    export: Export = Field(default=Export(), description="Forms of the artifact.")
    publish: Publish | None = Field(default=None, description="Where the artifact is made public.")
    output: Output = Field(default=Output(uri="runs"), description="Where the run store is kept.")
    resources: Resources = Field(default=Resources(), description="Workers and pods.")
    retry: Retry = Field(default=Retry(), description="Further attempts.")
    active_deadline_seconds: int | None = Field(
        default=None, ge=1, le=10**9, description="Longest time from start to end in seconds, over all attempts."
    )
    pre_running_deadline_seconds: int | None = Field(
        default=None, ge=1, le=10**9, description="Longest wait for nodes and images in seconds."
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None, ge=0, le=10**9, description="Seconds after which pods of a finished job are removed."
    )
    max_gpu_seconds: int | None = Field(
        default=None, ge=1, le=10**12, description="GPU seconds that all attempts may use together."
    )
    suspend: bool = Field(default=False, description="True stops the job after a checkpoint; false goes on from there.")
    managed_by: Literal["diptych.dev/operator", "kueue.x-k8s.io/multikueue"] = Field(
        default="diptych.dev/operator", description="Who reconciles the job."
    )

    @property
    def effective_method(self) -> Method:
        """Return the method that is set, else the preset's, else the default."""
        if self.preset is None or "method" in self.model_fields_set:
            return self.method
        return PRESET_METHODS.get(self.preset, "LoRA")

    @property
    def trains_text_encoder(self) -> bool:
        """Return whether the text encoder learns: all of it, or a LoRA of it."""
        has_adapter = self.effective_method == "LoRA" and self.lora.text_encoder_rank > 0
        return self.training.train_text_encoder or has_adapter

    @rule(
        "preset flickr30k-full trains FullUNet, flowers-scratch FromScratch and the others LoRA; leave method out",
        cel=f"!has(self.preset) || !has(self.method) || self.method == {PRESET_METHOD_CEL}",
        field="method",
    )
    def _method_of_preset(self) -> bool:
        return self.preset is None or self.effective_method == PRESET_METHODS.get(self.preset, "LoRA")

    @rule(
        "unet is set exactly when method is FromScratch",
        cel=f"{METHOD_CEL} == 'FromScratch' ? (has(self.unet) || has(self.preset)) : !has(self.unet)",
        field="unet",
    )
    def _unet_from_scratch(self) -> bool:
        if self.effective_method == "FromScratch":
            return self.unet is not None or self.preset is not None
        return self.unet is None

    @rule(
        "blockOutChannels, downBlockTypes and upBlockTypes must have the same length",
        cel=(
            "has(self.preset) || !has(self.unet) || "
            f"({_LENGTH.format('blockOutChannels')} == {_LENGTH.format('downBlockTypes')} && "
            f"{_LENGTH.format('blockOutChannels')} == {_LENGTH.format('upBlockTypes')})"
        ),
        field="unet",
    )
    def _levels_match(self) -> bool:
        if self.preset is not None or self.unet is None:
            return True
        unet = self.unet
        return len(unet.block_out_channels) == len(unet.down_block_types) == len(unet.up_block_types)

    @rule(
        "training.trainTextEncoder needs method FromScratch; use lora.textEncoderRank with LoRA",
        cel=(
            "!has(self.training) || !has(self.training.trainTextEncoder) || !self.training.trainTextEncoder || "
            f"{METHOD_CEL} == 'FromScratch'"
        ),
        field="training.trainTextEncoder",
    )
    def _text_encoder_from_scratch(self) -> bool:
        return not self.training.train_text_encoder or self.effective_method == "FromScratch"


class FineTuneJob(Resource):
    """A job that teaches a text-to-image model something new from captioned pictures."""

    kind: Literal["FineTuneJob"] = Field(default="FineTuneJob", description="Kind of the object.")
    spec: FineTuneJobSpec = Field(description="What to learn, from what, how good is good enough.")
    status: FineTuneJobStatus = Field(default=FineTuneJobStatus(), description="State of the job.")
