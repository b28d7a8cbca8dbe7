"""FineTuneJob: what to learn, from what, how good is good enough."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from diptych_api.after import Evaluation, Export, Promotion, Publish, Tracking
from diptych_api.cluster import Resources
from diptych_api.dataset import Dataset
from diptych_api.fields import Model
from diptych_api.sources import Base, Output
from diptych_api.training import LoRA, Method, Training, UNet

Preset = Literal["lora-r4", "lora-r16", "style-r8", "flickr30k-full", "flowers-scratch"]


class Retry(Model):
    """What happens after a failure that may pass."""

    backoff_limit: int = Field(default=2, ge=0, le=20, description="Further attempts; each goes on from the last checkpoint.")


class FineTuneJobSpec(Model):
    """Everything a job is made of. Fixed once created, but for suspend, ttlSecondsAfterFinished and maxGpuSeconds."""

    preset: Preset | None = Field(default=None, description="Defaults of a known recipe; fields that are set win.")
    base: Base = Field(description="The model to start from.")
    method: Method = Field(default="LoRA", description="LoRA learns an adapter, FullUNet every weight of the UNet, FromScratch a new UNet.")
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
    active_deadline_seconds: int | None = Field(default=None, ge=1, le=10**9, description="Longest time from start to end, over all attempts.")
    pre_running_deadline_seconds: int | None = Field(default=None, ge=1, le=10**9, description="Longest wait for nodes and images.")
    ttl_seconds_after_finished: int | None = Field(default=None, ge=0, le=10**9, description="Time after which pods of a finished job are removed.")
    max_gpu_seconds: int | None = Field(default=None, ge=1, le=10**12, description="GPU seconds that all attempts may use together.")
    suspend: bool = Field(default=False, description="True stops the job after a checkpoint; false goes on from there.")
    managed_by: Literal["diptych.dev/operator", "kueue.x-k8s.io/multikueue"] = Field(default="diptych.dev/operator", description="Who reconciles the job.")

    @model_validator(mode="after")
    def _method_parts(self) -> Self:
        if (self.method == "FromScratch") != (self.unet is not None):
            raise ValueError("unet is set exactly when method is FromScratch")
        if self.training.train_text_encoder and self.method != "FromScratch":
            raise ValueError("training.trainTextEncoder needs method FromScratch; use lora.textEncoderRank with LoRA")
        return self
