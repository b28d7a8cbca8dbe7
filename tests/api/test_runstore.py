from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych_api import runstore
from diptych_api.artifact import ArtifactRecord, BaseRecord, FileRecord, files_digest, files_size
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import PRESETS, resolve
from diptych_api.runstore import RunRecord, checkpoint_name, checkpoint_step, immutable_json, run_name
from diptych_api.wire import from_wire

VALUES = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "examples/noto-style"}}}
SPEC = from_wire(FineTuneJobSpec, VALUES)


def with_fields(**fields: object) -> FineTuneJobSpec:
    return from_wire(FineTuneJobSpec, VALUES | fields)


def test_run_names_never_change_for_the_same_job() -> None:
    """Golden: a change here would cut every existing run off from its checkpoints."""
    assert (
        immutable_json(SPEC) == '{"base":{"builtin":"tiny-emoji"},"dataset":{"source":{"uri":"examples/noto-style"}}}'
    )
    assert run_name("noto-style", SPEC) == "noto-style-659925ce"
    assert run_name("a", with_fields(preset="flowers-scratch")) == "a-548cd351"


def test_the_name_counts() -> None:
    assert run_name("a", SPEC)[2:] != run_name("b", SPEC)[2:]


@pytest.mark.parametrize(
    "fields",
    [{"lora": {"rank": 4}}, {"training": {"steps": 9}}, {"output": {"uri": "s3://b/r"}}, {"preset": "lora-r4"}],
)
def test_what_cannot_change_counts(fields: dict[str, object]) -> None:
    assert run_name("a", with_fields(**fields)) != run_name("a", SPEC)


@pytest.mark.parametrize(
    "fields",
    [{"suspend": True}, {"ttlSecondsAfterFinished": 5}, {"maxGpuSeconds": 5}, {"lora": {"rank": 16}}, {"lora": {}}],
)
def test_what_may_change_and_defaults_written_out_do_not_count(fields: dict[str, object]) -> None:
    assert run_name("a", with_fields(**fields)) == run_name("a", SPEC)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_spec_has_the_name_of_the_unresolved_one(preset: str) -> None:
    spec = with_fields(preset=preset)
    assert run_name("a", resolve(spec)) == run_name("a", spec)
    complete = FineTuneJobSpec.model_validate(resolve(spec).model_dump())
    assert run_name("a", complete) == run_name("a", spec)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9))
def test_checkpoint_names_give_their_step_back(step: int) -> None:
    assert checkpoint_step(checkpoint_name(step)) == step


def test_checkpoint_names_have_six_digits() -> None:
    assert [checkpoint_name(step) for step in (0, 123, 1_234_567)] == ["step-000000", "step-000123", "step-1234567"]


@pytest.mark.parametrize("folder", ["step-123", "step-0000123", "step-00012x", "step-000123.tmp", "", "step-00012٣"])
def test_other_folders_are_no_checkpoints(folder: str) -> None:
    assert checkpoint_step(folder) is None


def test_a_negative_step_has_no_checkpoint() -> None:
    with pytest.raises(ValueError, match="negative"):
        checkpoint_name(-1)


@pytest.mark.parametrize(
    ("output", "folder"),
    [
        ("runs", "runs/local/a-12345678"),
        ("/data/", "/data/local/a-12345678"),
        ("/", "/local/a-12345678"),
        ("s3://bucket/runs", "s3://bucket/runs/local/a-12345678"),
        ("memory://", "memory://local/a-12345678"),
        ("file:///", "file:///local/a-12345678"),
    ],
)
def test_folders_are_below_the_output(output: str, folder: str) -> None:
    assert runstore.run_folder(output, None, "a-12345678") == folder


def test_cache_and_models_lie_beside_the_runs_of_a_namespace() -> None:
    assert runstore.cache_folder("s3://b", "team") == "s3://b/team/cache"
    assert runstore.model_folder("s3://b", "team", "noto") == "s3://b/team/models/noto"


def test_run_json_is_read_back_and_newer_fields_are_ignored() -> None:
    record = RunRecord(name="a", run=run_name("a", SPEC), spec=SPEC, versions={"torch": "2"}, created=datetime.now(UTC))
    text = record.model_dump_json(by_alias=True)
    assert RunRecord.model_validate_json(text) == record
    assert RunRecord.model_validate_json(text[:-1] + ', "newer": 1}') == record


def artifact() -> ArtifactRecord:
    files = {"peft/adapter_model.safetensors": FileRecord(sha256="1" * 64, bytes=10)}
    return ArtifactRecord(
        name="a",
        run="a-12345678",
        method="LoRA",
        base=BaseRecord(source="builtin:tiny-emoji", digest=f"sha256:{'0' * 64}"),
        rank=4,
        alpha=4,
        trainable_parameters=797_184,
        step=300,
        formats=["PEFT"],
        files=files,
        created=datetime.now(UTC),
    )


def test_artifact_json_is_read_back() -> None:
    record = artifact()
    assert ArtifactRecord.model_validate_json(record.model_dump_json(by_alias=True)) == record
    assert '"targetModules"' in record.model_dump_json(by_alias=True)


def test_the_digest_depends_on_names_and_contents_but_not_on_order() -> None:
    one, two = FileRecord(sha256="1" * 64, bytes=1), FileRecord(sha256="2" * 64, bytes=2)
    assert files_digest({"a": one, "b": two}) == files_digest({"b": two, "a": one})
    assert files_digest({"a": one, "b": two}) != files_digest({"a": two, "b": one})
    assert files_size({"a": one, "b": two}) == 3
