"""evaluation/report.json: base and tuned compared, and how to do it again."""

from typing import Literal

from pydantic import Field

from diptych_api.after import Scheduler
from diptych_api.fields import Digest, Location, Prompt, Record, Seed, Sha256, Text, Time

Verdict = Literal["Better", "Worse", "NotSure"]
GateOutcome = Literal["Promoted", "Offered", "NotPromoted"]


class Interval(Record):
    """A confidence interval."""

    low: float = Field(description="Lower end.")
    high: float = Field(description="Upper end.")
    level: float = Field(default=0.95, gt=0, lt=1, description="Share of such intervals that hold the true value.")


class MetricResult(Record):
    """One figure of base and tuned."""

    name: Text = Field(description="Metric, as in spec.evaluation.metrics.")
    base: float | None = Field(default=None, description="Value of the base.")
    tuned: float | None = Field(default=None, description="Value of the tuned model.")
    base_std: float | None = Field(default=None, description="Standard deviation over the base's samples.")
    tuned_std: float | None = Field(default=None, description="Standard deviation over the tuned model's samples.")
    difference: float | None = Field(default=None, description="Tuned minus base.")
    interval: Interval | None = Field(default=None, description="Bootstrap interval of the difference.")
    tuned_interval: Interval | None = Field(default=None, description="Bootstrap interval of the tuned model's value.")
    p_value: float | None = Field(
        default=None, ge=0, le=1, description="Of the paired permutation test that base and tuned are alike."
    )
    n: int = Field(ge=0, le=2**31, description="Samples behind the values.")
    unit: str = Field(default="", max_length=32, description="Unit, empty for none.")
    lower_is_better: bool = Field(default=True, description="Whether a smaller value is better.")
    network: Text | None = Field(default=None, description="Kind of the network that judged.")
    weights: Digest | None = Field(default=None, description="Digest of its weights.")
    warning: str = Field(default="", max_length=1024, description="Why the figure is weak, such as too few samples.")


class GateCheck(Record):
    """One gate, and what it saw."""

    metric: Text = Field(description="What was compared.")
    candidate: float | None = Field(default=None, description="Value of the tuned model.")
    rival: float | None = Field(default=None, description="Value of the current version, or of the base.")
    improvement: float | None = Field(default=None, description="How much better, in the metric's unit.")
    interval: Interval | None = Field(default=None, description="Bootstrap interval of the improvement.")
    required: float = Field(description="Smallest improvement; below 0, the largest loss that is borne.")
    n: int = Field(default=0, ge=0, le=2**31, description="Samples behind the values.")
    passed: bool = Field(description="Whether it held.")


class GateDecision(Record):
    """Whether an artifact earned its place, and the evidence."""

    outcome: GateOutcome = Field(
        description="Promoted: it is the model's version. Offered: the DiffusionModel decides. NotPromoted: see reason."
    )
    reason: str = Field(default="", max_length=1024, description="Why, in a sentence.")
    model: Text = Field(description="The DiffusionModel.")
    rival: Text | None = Field(default=None, description="Run that it was held against; the base where unset.")
    checks: list[GateCheck] = Field(default=[], max_length=16, description="The gates, one by one.")


class PairResult(Record):
    """Base and tuned for one prompt and seed."""

    prompt: Prompt = Field(description="The prompt.")
    seed: Seed = Field(description="Seed of the noise of both pictures.")
    real: Location | None = Field(default=None, description="Picture that the caption belongs to, if there is one.")
    base: Location | None = Field(default=None, description="Picture of the base.")
    tuned: Location | None = Field(default=None, description="Picture of the tuned model.")
    incumbent: Location | None = Field(default=None, description="Picture of the version that it would replace.")
    variant: Location | None = Field(default=None, description="Picture of the tuned model for the elaborated prompt.")
    figures: dict[Text, float] = Field(default={}, max_length=64, description="Figures of this pair, by name.")


class EvaluationReport(Record):
    """Everything that an evaluation found. Locations are relative to the folder of the report."""

    format: Literal["diptych.evaluation/1"] = Field(default="diptych.evaluation/1", description="Form of this file.")
    run: Text = Field(description="Name of the run.")
    inputs: Sha256 | None = Field(default=None, description="Digest of all that decides what this report says.")
    artifact: Digest | None = Field(default=None, description="Digest of the artifact.")
    base: Digest | None = Field(default=None, description="Digest of the base's weights.")
    suite: Text | None = Field(default=None, description="Prompt suite; held-out captions when unset.")
    seed: Seed = Field(description="Seed of the first prompt; the n-th uses seed + n.")
    inference_steps: int = Field(ge=1, le=1000, description="Sampling steps.")
    guidance_scale: float = Field(ge=0, le=30, description="Classifier-free guidance.")
    scheduler: Scheduler = Field(description="Sampler.")
    size: int = Field(ge=8, le=4096, description="Side of the pictures in pixels.")
    dtype: str = Field(default="fp32", max_length=16, description="Arithmetic.")
    pairs: list[PairResult] = Field(default=[], max_length=10_000, description="One entry for each prompt.")
    metrics: list[MetricResult] = Field(default=[], max_length=64, description="Figures over all pairs.")
    variant: Prompt | None = Field(default=None, description="Words around the prompt, as in spec.evaluation.variant.")
    variants: list[MetricResult] = Field(
        default=[],
        max_length=64,
        description="What these words change: the tuned model with plain prompts as base, with these words as tuned.",
    )
    verdict: Verdict = Field(default="NotSure", description="Whether tuned is better, by the first metric's interval.")
    gate: GateDecision | None = Field(default=None, description="Whether it was promoted, with the evidence.")
    seconds_per_image: float | None = Field(default=None, ge=0, description="Mean time of a picture.")
    versions: dict[Text, Text] = Field(default={}, max_length=64, description="Versions of the libraries.")
    files: dict[Location, Sha256] = Field(default={}, description="SHA-256 of every file beside the report.")
    time: Time = Field(description="When it was written.")
