"""What follows training: evaluation, promotion, tracking, export, publishing."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from diptych_api.fields import Location, Model, Name, Prompt, Seed, Template, Text
from diptych_api.sources import SecretKey

Scheduler = Literal["DDIM", "PNDM", "Euler", "EulerAncestral", "DPMSolverMultistep", "LCM"]
Metric = Literal["ValidationLoss", "StyleDistance", "CLIPScore", "KID", "FID", "InceptionScore", "LPIPS", "CMMD"]


class Extractors(Model):
    """Networks that judge pictures: folders with config.json and model.safetensors; the report has their digests."""

    clip: Location | None = Field(default=None, description="CLIP in transformers' form; for CLIPScore and CMMD.")
    features: Location | None = Field(
        default=None, description="Inception v3, DINOv2 or CLIP; for KID and FID, and for InceptionScore the first."
    )
    lpips: Location | None = Field(default=None, description="AlexNet with the heads of LPIPS; for LPIPS.")


EXTRACTOR_OF: Final[Mapping[Metric, str]] = {
    **dict.fromkeys(("CLIPScore", "CMMD"), "clip"),
    **dict.fromkeys(("KID", "FID", "InceptionScore"), "features"),
    "LPIPS": "lpips",
}
"""The field of Extractors that a metric needs."""


class FillerPrompts(Model):
    """A language model behind an OpenAI-compatible endpoint. Its key, where it wants one, is OPENAI_API_KEY."""

    endpoint: Location = Field(description="Address of the endpoint, such as http://127.0.0.1:11434/v1.")
    model: Text = Field(description="Name of the model there.")


class Evaluation(Model):
    """Pictures and figures of base and tuned for the same prompts and seeds."""

    enabled: bool = Field(default=True, description="Compare base and tuned after training.")
    suite: Location | None = Field(
        default=None,
        description="Prompt suite astronomy, everyday, flowers or neon-cat, or a text file (.txt) with one prompt a "
        "line; held-out captions when neither suite nor prompts is set.",
    )
    prompts: list[Prompt] = Field(default=[], max_length=256, description="Own prompts.")
    variant: Template | None = Field(
        default=None,
        description="Text with {prompt} in it: tuned also draws every prompt in these words, from the same noise, and "
        "is compared with its own plain pictures; CLIPScore reads the plain prompt for both.",
    )
    rivals: Location | None = Field(
        default=None,
        description="An ImageFolder of the same captions in the style that tuning should leave; adds the share of "
        "pictures that are nearer to the real one than to its rival.",
    )
    max_prompts: int = Field(default=40, ge=1, le=10_000, description="At most this many prompts are drawn.")
    inference_steps: int = Field(default=30, ge=1, le=1000, description="Sampling steps.")
    guidance_scale: float = Field(default=7.5, ge=0, le=30, description="Classifier-free guidance.")
    scheduler: Scheduler = Field(default="DDIM", description="Sampler.")
    seed: Seed = Field(default=1234, description="Seed of the first prompt's noise; the n-th prompt uses seed + n.")
    metrics: list[Metric] = Field(
        default=["ValidationLoss", "StyleDistance"], max_length=16, description="What is measured."
    )
    mosaic: Literal["Off", "Dataset", "Prompts"] = Field(
        default="Off",
        description="Also draw an 8×8 sheet with the first 16 pictures of the tuned model among 48 fillers: training "
        "pictures, or what the base draws of prompts in seven categories.",
    )
    filler_prompts: FillerPrompts | None = Field(
        default=None, description="Who writes the prompts of mosaic Prompts; a small grammar without it."
    )
    extractors: Extractors = Field(default=Extractors(), description="Networks that metrics need.")


class Gate(Model):
    """One condition that an artifact must meet to be promoted."""

    metric: Metric = Field(description="What is compared.")
    min_improvement: float = Field(
        default=0,
        ge=-1e6,
        le=1e6,
        description="Smallest improvement over the incumbent, in the metric's unit; 0 asks for any, less than 0 bears "
        "a loss of that size.",
    )
    confident: bool = Field(
        default=False,
        description="All of the improvement's 95 % interval must be large enough, not its mean alone; needs an "
        "evaluation that draws both.",
    )


class Promotion(Model):
    """Which DiffusionModel a good artifact may become, and how good is good enough."""

    model: Name = Field(description="Name of the DiffusionModel.")
    gates: list[Gate] = Field(
        default=[],
        max_length=16,
        description="All must hold, and one must show an improvement. Empty: strictly lower validation loss.",
    )


class Tracking(Model):
    """An MLflow server or file store that is told of the run."""

    uri: Location = Field(description="Tracking URI.")
    experiment: Text = Field(default="diptych", description="Experiment name.")
    token: SecretKey | None = Field(default=None, description="Token for the server.")


class Export(Model):
    """Forms of the artifact besides the run store's own."""

    formats: list[Literal["PEFT", "Diffusers", "Kohya", "Merged", "ONNX", "TensorRT"]] = Field(
        default=["PEFT", "Diffusers", "Kohya"],
        max_length=6,
        description="Forms of the artifact. Merged and ONNX hold the base, too; TensorRT is passed over.",
    )


class Publish(Model):
    """Where the artifact is made public."""

    hugging_face_repo: Text | None = Field(default=None, description="Model repository; created when missing.")
    uri: Location | None = Field(
        default=None, description="Object store folder (s3://, gs://) or OCI reference (oci://)."
    )
    token: SecretKey | None = Field(default=None, description="Token for the hub or registry.")
    private: bool = Field(default=True, description="Create the repository as private.")
    dry_run: bool = Field(default=False, description="Say what would be sent, send nothing.")
