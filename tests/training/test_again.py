"""A job that was changed after it ran: what nothing changed for is not done again, by real runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from diptych_api.report import Report
from support.real_runs import checkpoint_hashes, started, write_job
from support.tiny_jobs import merged, write_pictures
from support.tiny_models import make_pipeline

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
STEPS = 12
SPEC: dict[str, Any] = {
    "base": {"uri": "base"},
    "lora": {"rank": 2, "alpha": 2},
    "dataset": {"source": {"uri": "pictures"}, "split": {"count": 4}, "image": {"size": 64}},
    "training": {
        "steps": STEPS,
        "batchSize": 4,
        "checkpoint": {"everySteps": 6},
        "validation": {"everySteps": 6, "draws": 1},
        "samples": {"everySteps": 6},
    },
    "evaluation": {"inferenceSteps": 2, "maxPrompts": 2},
}


def ran(folder: Path, **changes: Any) -> tuple[Path, list[Report]]:
    """Run the job with changes to its end; return its new folder and what it told."""
    before = set((folder / "runs/local").glob("tiny-*"))
    write_job(folder, merged(SPEC, changes))
    with started(folder) as run:
        reports = list(run.reports())
        assert run.process.wait() == 0, (folder / "stderr.txt").read_text()
    (made,) = set((folder / "runs/local").glob("tiny-*")) - before
    return made, reports


def drawn_at(run: Path) -> Any:
    return json.loads((run / "evaluation/report.json").read_text())["time"]


def trained(reports: list[Report]) -> bool:
    """Whether steps were done: a run that begins at its end says so from the first."""
    return any(report.phase == "Training" and report.step < STEPS for report in reports)


def test_only_what_depends_on_a_change_is_done_again(tmp_path: Path) -> None:
    make_pipeline(tmp_path / "base")
    write_pictures(tmp_path / "pictures")
    first, told = ran(tmp_path)
    assert trained(told)

    public, told = ran(tmp_path, publish={"uri": "public"})
    assert not trained(told)
    assert any(f"{first.name} trained the same" in report.message for report in told)
    assert checkpoint_hashes(public) == checkpoint_hashes(first)
    assert (public / "metrics.jsonl").read_bytes() == (first / "metrics.jsonl").read_bytes()
    assert sorted(path.name for path in (public / "samples").iterdir()) == [
        "step-000000.png",
        "step-000006.png",
        "step-000012.png",
    ]
    assert drawn_at(public) == drawn_at(first), "nothing is drawn anew"
    assert (tmp_path / "public/SHA256SUMS").is_file()

    other, told = ran(tmp_path, evaluation={"seed": 99})
    assert not trained(told)
    assert drawn_at(other) != drawn_at(first), "with other noise"

    _, told = ran(tmp_path, training={"seed": 99})
    assert trained(told)
