"""artifact.json: what an artifact is, what it was made from, and the hash of each of its files."""

import hashlib
from typing import Literal

from pydantic import Field

from diptych_api.fields import Count, Digest, Location, Record, Sha256, Text, Time
from diptych_api.training import Method

ArtifactFormat = Literal["PEFT", "Diffusers", "Kohya", "Merged", "Pipeline", "ONNX", "TensorRT"]
FOLDERS: dict[ArtifactFormat, str] = {
    "PEFT": "peft",
    "Diffusers": "diffusers",
    "Kohya": "kohya",
    "Merged": "merged",
    "Pipeline": "pipeline",
    "ONNX": "onnx",
    "TensorRT": "tensorrt",
}


class BaseRecord(Record):
    """The base that an artifact belongs to."""

    source: Location = Field(description="builtin:tiny-emoji, huggingFace:owner/name, a URI or pvc:claim/path.")
    revision: Text | None = Field(default=None, description="Commit hash on the hub.")
    digest: Digest = Field(description="Digest of the base's weights.")


class FileRecord(Record):
    """One file of an artifact or checkpoint."""

    sha256: Sha256 = Field(description="SHA-256 of the contents in hex.")
    bytes: Count = Field(description="Size in bytes.")


class ArtifactRecord(Record):
    """artifact.json beside the folders of the formats."""

    format: Literal["diptych.artifact/1"] = Field(default="diptych.artifact/1", description="Form of this file.")
    name: Text = Field(description="Name of the job.")
    run: Text = Field(description="Name of the run.")
    method: Method = Field(description="What was trained.")
    base: BaseRecord = Field(description="The base it belongs to.")
    rank: int | None = Field(default=None, ge=1, le=512, description="Width of the update; LoRA only.")
    alpha: float | None = Field(default=None, gt=0, le=4096, description="Numerator of the scale; LoRA only.")
    rslora: bool = Field(default=False, description="The scale is alpha / sqrt(rank) instead of alpha / rank.")
    dora: bool = Field(default=False, description="The update has magnitudes apart from directions.")
    target_modules: list[Text] = Field(default=[], max_length=64, description="Layers with an update.")
    text_encoder_rank: int = Field(default=0, ge=0, le=512, description="Rank of the text encoder's update.")
    trainable_parameters: Count = Field(description="Parameters that were trained.")
    base_parameters: Count | None = Field(default=None, description="Parameters of the network that was adapted.")
    step: int = Field(ge=0, le=10_000_000, description="Optimiser step of the weights.")
    ema: bool = Field(default=False, description="The weights are the moving average.")
    validation_loss: float | None = Field(default=None, description="Validation loss of these weights.")
    first_validation_loss: float | None = Field(default=None, description="Validation loss before the first step.")
    dataset_digest: Digest | None = Field(default=None, description="Digest of the manifest that was learned.")
    formats: list[ArtifactFormat] = Field(default=[], max_length=8, description="Forms that were written.")
    skipped: dict[ArtifactFormat, Text] = Field(default={}, description="Forms that could not be made, and why.")
    files: dict[Location, FileRecord] = Field(default={}, description="Every file, by its path below artifact/.")
    created: Time = Field(description="When it was written.")


def files_digest(files: dict[str, FileRecord]) -> str:
    """Return one `sha256:…` over names and hashes of files, whatever their order."""
    lines = (f"{files[name].sha256}  {name}\n" for name in sorted(files))
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def files_size(files: dict[str, FileRecord]) -> int:
    """Return the sum of the files' sizes in bytes."""
    return sum(file.bytes for file in files.values())
