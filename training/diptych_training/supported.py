"""Fields of a job that this version or one machine cannot honour yet: refused or told, never ignored in silence.

It loads neither torch nor Ray, so that `diptych validate` answers at once.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from diptych_api.after import EXTRACTOR_OF, Evaluation
from diptych_api.artifact import ArtifactFormat
from diptych_api.dataset import Captioning, Dataset
from diptych_api.errors import UnsupportedHere
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_training.chat import is_address
from diptych_training.suites import SUITES, is_file, unknown

IGNORED_LOCALLY = (
    "managed_by",
    "pre_running_deadline_seconds",
    "suspend",
    "ttl_seconds_after_finished",
)
IGNORED_RESOURCES = ("min_workers", "pods")
SKIPPED: Final[Mapping[ArtifactFormat, str]] = {"TensorRT": "Diptych does not make TensorRT engines yet."}
"""Forms of the artifact that are passed over, and why."""
NETWORKS = ("BLIP", "Florence2", "Qwen2VL")
"""Captioners that are networks of this machine."""
TARGETS = ("file://", "s3://", "gs://")
TRACKED = re.compile(r"https?://|file:|(?!.*://)")


def refused(spec: FineTuneJobSpec) -> Iterator[str]:
    """Yield one sentence for each setting that would change the result but cannot be honoured."""
    training = spec.training
    if training.sharding != "None" and training.batch_size < spec.resources.workers:
        yield f"spec.training.batchSize: sharding needs a sample for each of {spec.resources.workers} workers."
    yield from refused_data(spec.dataset)
    yield from _refused_forms(spec)
    yield from _refused_evaluation(spec.evaluation)
    if spec.publish is not None and spec.publish.hugging_face_repo is None and spec.publish.uri is None:
        yield "spec.publish names no place: set huggingFaceRepo, or uri."
    if spec.tracking is not None and not TRACKED.match(spec.tracking.uri):
        yield f"spec.tracking.uri: {spec.tracking.uri} is neither an MLflow server (http://, https://) nor a folder."


def refused_data(dataset: Dataset) -> Iterator[str]:
    """Yield one sentence for each setting of a data set that cannot be honoured."""
    target = dataset.publish_to
    if target is not None and "://" in target and not target.startswith(TARGETS):
        yield f"spec.dataset.publishTo: {target} is no folder, s3:// or gs://."
    yield from _refused_captioning(dataset.captioning)


def _refused_captioning(settings: Captioning) -> Iterator[str]:
    field = "spec.dataset.captioning"
    needed = {"None": (), "Template": ("prompt",), "OpenAI": ("endpoint", "model")}.get(settings.provider, ("model",))
    yield from (
        f"{field}.{name}: provider {settings.provider} needs it." for name in needed if not getattr(settings, name)
    )


def _refused_forms(spec: FineTuneJobSpec) -> Iterator[str]:
    if spec.lora.use_dora and "formats" in spec.export.model_fields_set and "Kohya" in spec.export.formats:
        yield "spec.export.formats: Kohya files cannot hold DoRA; leave Kohya out or set spec.lora.useDora to false."


def _refused_evaluation(settings: Evaluation) -> Iterator[str]:
    if settings.suite is not None and settings.suite not in SUITES and not is_file(settings.suite):
        yield unknown(settings.suite)
    writer = settings.filler_prompts
    if writer is not None and not is_address(writer.endpoint):
        yield f"spec.evaluation.fillerPrompts.endpoint: {writer.endpoint} is no http:// or https:// address."
    for name in settings.metrics:
        network = EXTRACTOR_OF.get(name)
        if network is not None and getattr(settings.extractors, network) is None:
            yield f"spec.evaluation.metrics: {name} needs spec.evaluation.extractors.{network}, a network's folder."


def ignored(spec: FineTuneJobSpec, *, in_pod: bool = False, on_cluster: bool = False) -> list[str]:
    """Return one sentence for each setting that changes nothing here.

    Those of a pod are the operator's to honour; a Ray cluster that is no pod's honours the number of workers.
    """
    where = "outside Kubernetes" if on_cluster else "on one machine"
    names = [name for name in _of_kubernetes(spec) if not (on_cluster and name == "resources.minWorkers")]
    told = [] if in_pod else [f"spec.{name} has no effect {where}." for name in names]
    if spec.effective_method != "LoRA":
        told += [f"spec.{name} has no effect with method {spec.effective_method}." for name in _of_an_adapter(spec)]
    if spec.training.sharding != "None" and spec.resources.workers == 1:
        told.append("spec.training.sharding has no effect with one worker.")
    return told


def warned(spec: FineTuneJobSpec) -> Iterator[str]:
    """Yield one sentence for each setting that works otherwise than people may think."""
    if spec.base.is_distilled:
        yield (
            "spec.base: this base is distilled to draw in 1 to 4 steps without guidance, and is evaluated so. Training "
            "teaches it the loss of all timesteps, which can cost sharpness in few steps: short runs and small ranks "
            "are safer, or an adapter of the base that it was distilled from."
        )
    if spec.evaluation.filler_prompts is not None and spec.evaluation.mosaic != "Prompts":
        yield "spec.evaluation.fillerPrompts has no effect without mosaic: Prompts."
    yield from (
        f"spec.export.formats: {name} is skipped. {SKIPPED[name]}" for name in spec.export.formats if name in SKIPPED
    )


def _of_kubernetes(spec: FineTuneJobSpec) -> Iterator[str]:
    yield from (_camel(name) for name in IGNORED_LOCALLY if name in spec.model_fields_set)
    given = spec.resources.model_fields_set
    yield from (f"resources.{_camel(name)}" for name in IGNORED_RESOURCES if name in given)


def _of_an_adapter(spec: FineTuneJobSpec) -> Iterator[str]:
    if "lora" in spec.model_fields_set:
        yield "lora"
    if "formats" in spec.export.model_fields_set and "ONNX" not in spec.export.formats:
        yield "export.formats"


def check_supported(spec: FineTuneJobSpec) -> None:
    """Raise UnsupportedHere with every setting that cannot be honoured."""
    problems = list(refused(spec))
    if problems:
        raise UnsupportedHere("\n".join(problems))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
