"""The one YAML from a raw folder to a published adapter, on one machine: made shorter, without Ray."""

import subprocess
from pathlib import Path

import pytest

from diptych_api.finetunejob import FineTuneJob
from diptych_api.yaml_reader import read_resource
from support.example_runs import run_without_ray
from support.recorded_run import diptych

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SHORT = ("training.steps=20", "training.checkpoint.everySteps=20", "evaluation.inferenceSteps=2")


def test_a_raw_folder_is_cleaned_captioned_learned_promoted_and_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    path = ROOT / "examples/raw-to-published.yaml"
    assert diptych("validate", path).exit_code == 0
    job = read_resource(path, (*SHORT, f"dataset.source.uri={ROOT / 'examples/layouts/raw'}"))
    assert isinstance(job, FineTuneJob)
    ended = run_without_ray(job, tmp_path)
    reasons = sorted(drop.rule for drop in ended.manifest.dropped)
    assert (len(ended.manifest.rejected), reasons) == (1, ["duplicate", "minSharpness", "minSide"])
    captions = {caption for entry in (*ended.manifest.train, *ended.manifest.held_out) for caption in entry.captions}
    assert "red apple" in captions
    assert ended.finished.gate is not None
    assert ended.finished.gate.outcome == "Promoted", ended.finished.gate.reason
    published = tmp_path / "published/raw-emoji"
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=published, check=True)  # noqa: S607 - as people do
    assert (published / "evaluation/report.html").is_file()
