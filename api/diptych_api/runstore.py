"""The run store: names of its folders and files, and run.json.

<output>/<namespace or "local">/
    models/<model>/current.json         who was promoted; twin of the DiffusionModel object
    cache/                              encoded pictures and captions, addressed by content, shared by runs
    <name>-<hash8>/
        run.json                        what runs: resolved spec, versions, digests
        status.json                     newest report
        log.jsonl                       begin and end of each phase, attempts, messages, failure
        metrics.jsonl                   one line for each step and each validation
        manifest/                       samples that are used, split, bad samples
        checkpoints/step-000123/        state of training, with complete.json (hash of every file)
        samples/step-000123.png         pictures drawn on the way
        artifact/                       artifact.json, peft/, diffusers/, kohya/, …
        evaluation/                     report.json, pictures
        provenance.json
"""

import hashlib
import json
import re
from typing import Final, Literal

from pydantic import Field

from diptych_api.fields import Digest, Record, Text, Time
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import resolve

RUN_FILE = "run.json"
STATUS_FILE = "status.json"
LOG_FILE = "log.jsonl"
METRICS_FILE = "metrics.jsonl"
PROVENANCE_FILE = "provenance.json"
COMPLETE_FILE = "complete.json"
ARTIFACT_FILE = "artifact.json"
EVALUATION_FILE = "report.json"
MODEL_FILE = "current.json"
MANIFEST = "manifest"
CACHE = "cache"
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"
ARTIFACT = "artifact"
EVALUATION = "evaluation"
MODELS = "models"
LOCAL_NAMESPACE = "local"
STEP_DIGITS = 6


class RunRecord(Record):
    """run.json: what a run is made of, written before its first phase."""

    format: Literal["diptych.run/1"] = Field(default="diptych.run/1", description="Form of this file.")
    name: Text = Field(description="Name of the job.")
    namespace: Text = Field(default=LOCAL_NAMESPACE, description="Namespace of the job; local on one machine.")
    run: Text = Field(description="Name of the run, as run_name gives it.")
    spec: FineTuneJobSpec = Field(description="The spec with the preset resolved.")
    versions: dict[Text, Text] = Field(default={}, description="Versions of Diptych and of the libraries.")
    base_digest: Digest | None = Field(default=None, description="Digest of the base's weights.")
    dataset_digest: Digest | None = Field(default=None, description="Digest of the manifest.")
    created: Time = Field(description="When the run was first begun.")


PATIENCE: Final = frozenset({"active_deadline_seconds", "pre_running_deadline_seconds", "retry"})
"""Fields that say how long to try, not what: a job that is created anew with more of it goes on with the same run."""


def immutable_json(spec: FineTuneJobSpec) -> str:
    """Return the part of a spec that makes a run what it is, as canonical JSON.

    The preset is resolved first and values equal to the defaults are left out: writing a default or a preset's value
    by hand, or a newer version with more optional fields, gives the same text.
    """
    excluded = set(FineTuneJobSpec.mutable) | PATIENCE | {"preset"}
    values = resolve(spec).model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=excluded)
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def run_name(name: str, spec: FineTuneJobSpec) -> str:
    """Return `<name>-<hash8>`; the hash covers the name and all of the spec that cannot change."""
    digest = hashlib.sha256(f"{name}\n{immutable_json(spec)}".encode()).hexdigest()
    return f"{name}-{digest[:8]}"


def join(root: str, *parts: str) -> str:
    """Return root and parts joined by single slashes, for URIs and local paths alike."""
    return (root if root.endswith("/") else f"{root}/") + "/".join(parts)


def namespace_folder(output: str, namespace: str | None) -> str:
    """Return the folder that runs, models and the cache of one namespace share."""
    return join(output, namespace or LOCAL_NAMESPACE)


def run_folder(output: str, namespace: str | None, run: str) -> str:
    """Return the folder of one run."""
    return join(namespace_folder(output, namespace), run)


def cache_folder(output: str, namespace: str | None) -> str:
    """Return the folder of encoded pictures and captions, shared by the runs of a namespace."""
    return join(namespace_folder(output, namespace), CACHE)


def model_folder(output: str, namespace: str | None, model: str) -> str:
    """Return the folder that holds the promotion pointer of a DiffusionModel."""
    return join(namespace_folder(output, namespace), MODELS, model)


def checkpoint_name(step: int) -> str:
    """Return the folder name of a checkpoint, such as `step-000123`; six digits or more."""
    if step < 0:
        raise ValueError(f"a step cannot be negative: {step}")
    return f"step-{step:0{STEP_DIGITS}d}"


def checkpoint_step(folder: str) -> int | None:
    """Return the step of a checkpoint's folder name, None for any other name."""
    found = re.fullmatch(rf"step-(\d{{{STEP_DIGITS},}})", folder, flags=re.ASCII)
    return int(found[1]) if found and checkpoint_name(int(found[1])) == folder else None
