"""Checking a YAML file, and telling what it would do."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from diptych_api.dataset import Dataset
from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_api.runstore import run_folder, run_name
from diptych_api.wire import to_wire
from diptych_api.yaml_reader import read_resource
from diptych_cli.job_file import base_name, dataset_name, method_name, resources_name, training_length
from diptych_diffusion.loading import loading
from diptych_serving import supported
from diptych_training.data.facts import facts_of, local_folder
from diptych_training.equipment import lacking, substitutes
from diptych_training.supported import check_supported, ignored, warned


def validate(path: Path, overrides: Sequence[str], *, as_json: bool, deep: bool = False) -> None:
    """Print what a file says, or raise with every reason why it cannot run here; ``deep`` looks into a job."""
    resource = read_resource(path, overrides)
    name = resource.metadata.name
    told: dict[str, Any] = {"valid": True, "kind": resource.kind, "name": name}
    if isinstance(resource, DiffusionDeployment):
        supported.check_supported(resource.spec)
        told["notes"] = supported.ignored(resource.spec)
    if not isinstance(resource, FineTuneJob):
        lines = [f"✓ {path} is a valid {resource.kind}.", *(f"note: {note}" for note in told.get("notes", []))]
        typer.echo(json.dumps(told) if as_json else "\n".join(lines))
        return
    resolved = resolve(resource.spec)
    check_supported(resolved)
    notes, facts = [*ignored(resolved), *warned(resolved), *_of_this_machine(resolved)], summary(resource)
    about, remarks = dataset_facts(resolved.dataset)
    notes += remarks
    if about is not None:
        facts["dataset"] += f" · {about}"
    if deep:
        facts |= _look(resolved)
    if as_json:
        spec = to_wire(resource.model_copy(update={"spec": resolved}))["spec"]
        typer.echo(json.dumps(told | {"summary": facts, "notes": notes, "spec": spec}, ensure_ascii=False))
        return
    changes = "".join(f" --set {override}" for override in overrides)
    lines = [f"✓ {path} is a valid FineTuneJob.", *_aligned(facts), *(f"note: {note}" for note in notes)]
    typer.echo("\n".join([*lines, f"next: diptych run {path}{changes}"]))


def _look(spec: FineTuneJobSpec) -> Mapping[str, str]:
    with loading():
        from diptych_training.deep import look  # noqa: PLC0415 - imports torch

    return look(spec, Path.cwd())


def _of_this_machine(spec: FineTuneJobSpec) -> Iterator[str]:
    yield from (f"here it would be refused: {sentence}" for sentence in lacking(spec))
    yield from substitutes(spec)


def summary(job: FineTuneJob) -> dict[str, str]:
    """Return what a job would do, by topic."""
    spec = resolve(job.spec)
    training, image = spec.training, spec.dataset.image
    facts = {"name": job.metadata.name, "method": method_name(spec), "base": base_name(spec.base)}
    if spec.method == "LoRA":
        facts["method"] += f", alpha {spec.lora.alpha:g}, on {', '.join(spec.lora.target_modules)}"
        if rank := spec.lora.text_encoder_rank:
            facts["method"] += f"; of the text encoder r={rank}"
    facts["dataset"] = f"{dataset_name(spec.dataset.source)} · {spec.dataset.layout} · {image.size} px"
    facts["training"] = (
        f"{training_length(training)} of {training.batch_size} · learning rate {training.learning_rate:g}"
        f" · seed {training.seed}"
    )
    facts["resources"] = resources_name(spec.resources)
    if spec.output.uri is not None:
        run = run_name(job.metadata.name, job.spec)
        facts["output"] = run_folder(spec.output.uri, job.metadata.namespace, run)
    return facts


def dataset_facts(dataset: Dataset) -> tuple[str | None, list[str]]:
    """Return what a data set on this machine holds, and what of it cannot be used. Raises DatasetInvalid."""
    root = local_folder(dataset)
    if root is None:
        return None, []
    facts = facts_of(dataset, root)
    return str(facts), facts.notes(dataset.bad_samples.max_fraction)


def _aligned(facts: Mapping[str, str]) -> list[str]:
    width = max(map(len, facts))
    return [f"  {topic:<{width}}  {fact}" for topic, fact in facts.items()]
