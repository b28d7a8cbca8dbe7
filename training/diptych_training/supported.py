"""Fields of a job that this version or one machine cannot honour yet: refused or told, never ignored in silence."""

from collections.abc import Iterator

from diptych_api.errors import UnsupportedHere
from diptych_api.finetunejob import FineTuneJobSpec

IGNORED_LOCALLY = (
    "active_deadline_seconds",
    "max_gpu_seconds",
    "pre_running_deadline_seconds",
    "suspend",
    "ttl_seconds_after_finished",
)
LATER = ("promotion", "publish", "tracking")


def refused(spec: FineTuneJobSpec) -> Iterator[str]:
    """Yield one sentence for each setting that would change the result but cannot be honoured."""
    training = spec.training
    if spec.method == "FullUNet":
        yield "spec.method: FullUNet is not supported yet; LoRA and FromScratch are."
    if training.optimizer.name != "AdamW":
        yield f"spec.training.optimizer.name: {training.optimizer.name} is not supported yet; AdamW is."
    if not training.cache_latents:
        yield "spec.training.cacheLatents: false is not supported yet; latents are always cached."
    if training.sharding != "None":
        yield f"spec.training.sharding: {training.sharding} is not supported yet."
    if training.compile != "Off":
        yield f"spec.training.compile: {training.compile} is not supported yet."
    if training.attention not in ("auto", "sdpa"):
        yield f"spec.training.attention: {training.attention} is not supported yet; auto and sdpa are."
    if spec.lora.init_from is not None:
        yield "spec.lora.initFrom is not supported yet."
    if spec.lora.lora_plus_ratio != 1:
        yield "spec.lora.loraPlusRatio is not supported yet."
    if spec.dataset.dedup.enabled or spec.dataset.captioning.provider != "None":
        yield "spec.dataset.dedup and spec.dataset.captioning are not supported yet."


def ignored(spec: FineTuneJobSpec) -> list[str]:
    """Return one sentence for each setting that changes nothing here."""
    given = spec.model_fields_set
    told = [f"spec.{_camel(name)} has no effect on one machine." for name in IGNORED_LOCALLY if name in given]
    told += [f"spec.{name} has no effect yet." for name in LATER if getattr(spec, name) is not None]
    if "pods" in spec.resources.model_fields_set:
        told.append("spec.resources.pods has no effect on one machine.")
    if spec.training.samples.every_steps is not None:
        told.append("spec.training.samples has no effect yet.")
    return told


def check_supported(spec: FineTuneJobSpec) -> None:
    """Raise UnsupportedHere with every setting that cannot be honoured."""
    problems = list(refused(spec))
    if problems:
        raise UnsupportedHere("\n".join(problems))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
