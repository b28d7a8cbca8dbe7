"""A changed field trains again only where training depends on it; a run begins with what another one has learned."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel, ValidationError

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_api.runstore import RunRecord
from diptych_api.sources import Output
from diptych_training.checkpoint import CheckpointState, load, save, steps
from diptych_training.earlier_runs import begin_with_earlier, training_key
from diptych_training.run_store import RunStore
from support.kill_points import kill_points
from support.tracking import BEGAN

LEARNS = ("method", "lora", "unet", "training", "dataset.image", "dataset.captionPolicy", "preset")
"""What weights and losses depend on; all else of the data set and the base is in their digests."""
KEEPS = ("training.checkpoint",)
TOKEN = {"name": "hub", "key": "token"}
PLAIN: dict[str, Any] = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}}
HUB: dict[str, Any] = {"huggingFace": {"repo": "owner/name", "revision": "a" * 40, "token": TOKEN}}
CLAIM: dict[str, Any] = {"pvc": {"claimName": "claim"}}
ARCHIVE: dict[str, Any] = {"uri": "https://x.example/a.zip", "sha256": "0" * 64}
PODS: dict[str, Any] = {
    "tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 5}],
    "volumes": [{"claim": {"claimName": "claim"}, "mountPath": "/data"}],
    "env": [{"name": "AWS_REGION", "valueFrom": TOKEN}],
}
STARTS: tuple[dict[str, Any], ...] = (
    PLAIN,
    PLAIN | {"method": "FullUNet"},
    PLAIN | {"method": "FromScratch", "unet": {"layersPerBlock": 1}},
    {"base": HUB, "dataset": {"source": HUB}},
    {"base": CLAIM, "dataset": {"source": CLAIM}, "output": CLAIM, "resources": {"pods": PODS}},
    {"base": ARCHIVE, "dataset": {"source": ARCHIVE}},
    PLAIN
    | {
        "promotion": {"model": "best", "gates": [{"metric": "KID"}]},
        "tracking": {"uri": "mlruns", "token": TOKEN},
        "publish": {"uri": "public", "token": TOKEN},
        "evaluation": {"prompts": ["red apple"], "fillerPrompts": {"endpoint": "http://x", "model": "m"}},
        "output": {"uri": "s3://b/runs", "credentials": TOKEN},
    },
    {
        "base": {"uri": "base"},
        "dataset": {
            "source": {"uri": "s3://b/pictures", "credentials": TOKEN},
            "captioning": {"provider": "OpenAI", "endpoint": "http://x", "model": "m", "apiKey": TOKEN},
        },
    },
)
"""Jobs in one of which each field can be changed alone."""
OTHERS: tuple[Any, ...] = (
    *(True, False, 2, 8, 1, 3, 16, 64, 0.5, 0.25, 2.5, "x", "#000000", "s3://b/x", "fp16", "Cosine", "MinSNR"),
    "1" * 64,
    *(["conv_in"], [0.5, 0.9], {"a": "b"}, ["red apple"], "1Gi", "Regional", "sliced", "Stretch", "PerEpoch", "None"),
    *("ClassFolders", "AdamW8bit", "OptimizerAndGradients", "Template", "Class", {"count": 2}, {"step": 8}, "DDIM"),
    *(TOKEN, ["PEFT"], "FullUNet", {"everySteps": 3}, {"enabled": True}, {"model": "m"}, [1, 2], "b" * 40, "Euler"),
    *("{prompt}, old", ["CLIPScore"], "Prompts", [32, 64], "style-r8", "kueue.x-k8s.io/multikueue", "FID", "X_Y"),
    *(["DownBlock2D"] * 4, ["UpBlock2D"] * 4, [32] * 4, "UNetMidBlock2D", "fourier"),
    *("Exists", "NoSchedule", "/elsewhere", "astronomy", "http://y", "gelu"),
)


def leaves(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every field of a model that is no model itself, by the names on the wire."""
    for name, field in model.model_fields.items():
        here = (*path, field.alias or name)
        below = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_model(kind)]
        if below:
            yield from leaves(below[0], here)
        else:
            yield here


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def changed(path: tuple[str, ...]) -> tuple[FineTuneJobSpec, FineTuneJobSpec] | None:
    """Return a job and the same with another value of one field; None where none of those tried here fits."""
    for start in STARTS:
        before = resolve(FineTuneJobSpec.model_validate(start))
        for value in OTHERS:
            with suppress(ValidationError, ValueError, KeyError, TypeError, AttributeError):
                after = resolve(FineTuneJobSpec.model_validate(_put(start, path, value)))
                if after != before:
                    return before, after
    return None


def _put(start: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    values = json.loads(json.dumps(start))
    part = values
    for name in path[:-1]:
        below = part.setdefault(name, {})
        part = below[0] if isinstance(below, list) else below
    part[path[-1]] = value
    return dict(values)


PATHS = [path for path in leaves(FineTuneJobSpec) if path != ("base", "builtin")]
"""All but the one that has a single value."""


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_a_changed_field_trains_again_only_where_training_depends_on_it(path: tuple[str, ...]) -> None:
    name, both = ".".join(path), changed(path)
    assert both is not None, f"nothing tried here changes {name}: add a value or a job"
    before, after = map(training_key, both)
    assert (before != after) == (_is_of(name, LEARNS) and not _is_of(name, KEEPS))


def _is_of(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


DIGESTS = {"base_digest": f"sha256:{'a' * 64}", "dataset_digest": f"sha256:{'b' * 64}"}
STATE = CheckpointState({name: {"w": torch.ones(2)} for name in ("parameters", "average", "optimizer")}, {"step": 4})


def record(run: str, **changes: Any) -> RunRecord:
    spec = FineTuneJobSpec.model_validate(PLAIN | changes)
    return RunRecord.model_validate({"name": "tiny", "run": run, "spec": spec, "created": BEGAN, **DIGESTS})


@pytest.fixture
def stores(tmp_path: Path) -> tuple[RunStore, RunStore]:
    """A run that has learned four steps, and a new one beside it."""
    first = RunStore.open(Output(uri="runs"), "local", "tiny-00000001", tmp_path)
    first.write_json("run.json", record(first.name))
    first.append("metrics.jsonl", *(json.dumps({"step": step, "loss": 1.0}) for step in range(1, 6)))
    first.write_bytes("samples/step-000004.png", b"png")
    save(first, 4, STATE)
    return first, first.beside("tiny-00000002")


def test_losses_and_pictures_come_as_far_as_the_checkpoint(stores: tuple[RunStore, RunStore]) -> None:
    first, second = stores
    assert begin_with_earlier(second, record(second.name, publish={"uri": "public"})) == first.name
    assert [json.loads(line)["step"] for line in second.read_lines("metrics.jsonl")] == [1, 2, 3, 4]
    assert (steps(second), second.list("samples")) == ([4], ("step-000004.png",))
    assert torch.equal(load(second, 4).groups["parameters"]["w"], torch.ones(2))
    assert begin_with_earlier(second, record(second.name)) is None, "it has its own now"


@pytest.mark.parametrize(
    "other",
    [
        record("tiny-00000002", training={"seed": 1}),
        record("tiny-00000002", lora={"initFrom": "adapter"}),
        record("tiny-00000002").model_copy(update={"base_digest": f"sha256:{'c' * 64}"}),
        record("tiny-00000002").model_copy(update={"dataset_digest": None}),
        record("tiny-00000002").model_copy(update={"name": "another"}),
    ],
)
def test_a_run_that_trains_otherwise_begins_at_the_beginning(
    stores: tuple[RunStore, RunStore], other: RunRecord
) -> None:
    assert begin_with_earlier(stores[1], other) is None


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "checkpoints/step-000004/parameters.safetensors"])
def test_a_damaged_run_is_passed_over(stores: tuple[RunStore, RunStore], name: str) -> None:
    first, second = stores
    first.write_bytes(name, b"[]\n")
    assert begin_with_earlier(second, record(second.name)) is None
    assert steps(second) == []


@pytest.mark.slow
def test_a_kill_at_any_line_leaves_a_run_that_begins_so_again(stores: tuple[RunStore, RunStore]) -> None:
    first, second = stores
    for _ in kill_points(lambda _: begin_with_earlier(second, record(second.name)), "earlier_runs.py", "run_store"):
        begin_with_earlier(second, record(second.name))
        assert torch.equal(load(second, 4).groups["parameters"]["w"], torch.ones(2))
        assert len(second.read_lines("metrics.jsonl")) == 4
        second.remove("checkpoints")
        second.remove("metrics.jsonl")
    assert first.exists("checkpoints/step-000004/complete.json")
