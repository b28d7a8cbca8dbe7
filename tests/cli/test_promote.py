"""`diptych promote` on one machine, with runs that left an artifact."""

import json
import shutil
from pathlib import Path

import pytest

from diptych_api.diffusionmodel import ModelPointer
from support.recorded_run import diptych
from support.tracking import ARTIFACT, MemoryPlace, report


@pytest.fixture
def runs(run: Path) -> tuple[str, str]:
    """The names of two runs in runs/, one copied from the other."""
    other = run.with_name("noto-style-0badcafe")
    shutil.copytree(run, other)
    return run.name, other.name


def promote(*arguments: str) -> str:
    ended = diptych("promote", "noto", "--output", "runs", *arguments)
    return ended.stdout if ended.exit_code == 0 else f"{ended.exit_code}: {ended.stderr}"


def pointer() -> ModelPointer:
    return ModelPointer.model_validate_json(Path("runs/local/models/noto/current.json").read_bytes())


def test_a_model_follows_the_word_of_a_person_back_and_forth(runs: tuple[str, str]) -> None:
    first, second = runs
    assert promote().startswith("noto stands for nothing yet.")
    assert promote(first).startswith(f"✓ noto stands for {first}, whatever is promoted.\nnext: diptych generate")
    promote(second)
    assert f"noto stands for {second}, pinned.\n  {second}" in promote()
    promote("--rollback")
    current = pointer().current
    assert current is not None
    assert (current.run, pointer().pin) == (first, first)
    assert (Path(current.uri.removeprefix("file://")) / "artifact.json").is_file()
    assert "follows promotion again" in promote("--unpin")
    assert pointer().pin is None


def test_what_cannot_be_promoted_is_told_and_nothing_changes(runs: tuple[str, str]) -> None:
    first, second = runs
    promote(first)
    before = pointer()
    assert "has no version before this one" in promote("--rollback")
    assert "There is no run gone-12345678 in runs/local" in promote("gone-12345678")
    assert "one of them" in promote(first, "--unpin")
    weights = Path("runs/local", second, "artifact/peft/adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert promote(second).startswith("1: ")
    assert "Use one side" in promote("-n", "art")
    assert pointer() == before


def test_mlflow_hears_which_run_the_model_stands_for_or_is_told_later(
    runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = runs
    for name in runs:
        record = Path("runs/local", name, "run.json")
        told = json.loads(record.read_text())
        told["spec"] |= {"tracking": {"uri": "http://mlflow"}, "promotion": {"model": "noto"}}
        record.write_text(json.dumps(told | {"run": name}))
        ended = report("Succeeded", artifact=ARTIFACT)
        record.with_name("status.json").write_text(ended.model_dump_json(by_alias=True))
    mlflow = MemoryPlace()
    monkeypatch.setattr("diptych_cli.tracking.place_of", lambda _tracking, _environ: mlflow)
    assert "  http://mlflow calls it champion.\n" in promote(first)
    promote(second)
    assert mlflow.aliases["noto@champion"] == "2"
    promote("--rollback")
    assert mlflow.aliases["noto@champion"] == "1"
    mlflow.calls = 0
    told = promote(second)
    assert "MLflow was not told: nobody answers" in told
    assert f"Later: diptych track runs/local/{second}" in told
    current = pointer().current
    assert current is not None
    assert current.run == second
    shutil.rmtree(Path("runs/local") / second)
    told = promote("--unpin")
    assert "follows promotion again" in told
    assert "MLflow was not told: " in told
