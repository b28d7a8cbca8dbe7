"""A job's YAML, and what stands in it, in few words."""

from collections.abc import Sequence
from pathlib import Path

from diptych_api.cluster import Resources
from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_api.sources import Base, DatasetSource
from diptych_api.training import Training
from diptych_api.yaml_reader import read_resource


def read_job(path: Path, overrides: Sequence[str] = ()) -> FineTuneJob:
    """Return the FineTuneJob of a file. Raises SpecInvalid."""
    resource = read_resource(path, overrides)
    if not isinstance(resource, FineTuneJob):
        raise SpecInvalid(f"{path} is a {resource.kind}.", hint="Give a FineTuneJob.")
    return resource


def headline(job: FineTuneJob) -> str:
    """Return the job on one line: name, what is trained on which base, with how much."""
    spec = resolve(job.spec)
    parts = (job.metadata.name, f"{method_name(spec)} on {base_name(spec.base)}", resources_name(spec.resources))
    return " · ".join(parts)


def method_name(spec: FineTuneJobSpec) -> str:
    """Return the method and, for LoRA, its rank."""
    if spec.method == "LoRA":
        return f"LoRA r={spec.lora.rank}"
    return {"FullUNet": "full UNet", "FromScratch": "UNet from scratch"}[spec.method]


def base_name(base: Base) -> str:
    """Return what people call a base."""
    if base.hugging_face is not None:
        return f"{base.hugging_face.repo}@{base.hugging_face.revision[:8]}"
    return base.builtin or base.uri or (f"pvc {base.pvc.claim_name}" if base.pvc else "")


def dataset_name(source: DatasetSource) -> str:
    """Return where the pictures are."""
    if source.hugging_face is not None:
        return f"{source.hugging_face.repo}@{source.hugging_face.revision[:8]}"
    return source.uri or (f"pvc {source.pvc.claim_name}" if source.pvc else "")


def resources_name(resources: Resources) -> str:
    """Return what trains, such as `2 CPU cores` or `4 workers, 1 GPU each`."""
    many = resources.workers > 1
    if resources.gpus_per_worker:
        what = "1 GPU" if resources.gpus_per_worker == 1 else f"{resources.gpus_per_worker} GPUs"
    else:
        what = "1 CPU core" if resources.cpus_per_worker == 1 else f"{resources.cpus_per_worker} CPU cores"
    return f"{resources.workers} workers, {what} each" if many else what


def training_length(training: Training) -> str:
    """Return how long a run is."""
    if training.epochs is not None:
        return "1 epoch" if training.epochs == 1 else f"{training.epochs:,} epochs"
    return f"{training.steps or 1000:,} steps"
