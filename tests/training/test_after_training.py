"""What a run's own process does when training is over: publish, and tell MLflow."""

import threading
from pathlib import Path
from typing import Any

import pytest

from diptych_api.errors import UnsupportedHere, UserError
from diptych_api.evaluation_report import GateDecision
from diptych_api.finetunejob import FineTuneJob
from diptych_api.report import ArtifactRef, Report
from diptych_api.runstore import RUN_FILE, STATUS_FILE, RunRecord, run_name
from diptych_training.letters import Finished
from diptych_training.phases import Run, publish
from diptych_training.reporter import Reporter
from diptych_training.run import RunOptions, run
from diptych_training.run_store import RunStore
from support.tracking import ARTIFACT, BEGAN, report, train_on

DONE = ArtifactRef.model_validate(ARTIFACT)


def job_of(folder: Path, **fields: Any) -> FineTuneJob:
    spec = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}, **fields}
    return FineTuneJob.model_validate({"metadata": {"name": "noto"}, "spec": spec | {"output": {"uri": str(folder)}}})


def test_a_run_is_published_to_where_its_job_says_unless_a_gate_withholds_it(tmp_path: Path) -> None:
    job = job_of(tmp_path, publish={"uri": str(tmp_path / "out"), "dryRun": True})
    store = RunStore.open(job.spec.output, "local", "noto-1", tmp_path)
    store.write_json(RUN_FILE, RunRecord(name="noto", run=store.name, spec=job.spec, created=BEGAN))
    told: list[Report] = []
    this = Run(job, job.spec, job.spec, store, Reporter(told.append, store), threading.Event())
    publish(this, Finished(DONE, (), GateDecision(outcome="NotPromoted", model="noto", reason="worse by 0.1")))
    assert (told[-1].phase, "worse by 0.1" in told[-1].message) == ("Pending", True)
    with pytest.raises(UserError, match="no artifact yet"):
        publish(this, Finished(DONE, ()))
    assert told[-1].phase == "Publishing"


def test_a_job_whose_token_is_missing_ends_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUB_WRITE", raising=False)
    job = job_of(tmp_path, publish={"huggingFaceRepo": "me/noto", "token": {"name": "hub", "key": "HUB_WRITE"}})
    with pytest.raises(UnsupportedHere, match="variable HUB_WRITE is not set"):
        run(job, RunOptions(tmp_path), lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_starting_a_run_again_that_has_succeeded_tells_mlflow_what_it_missed(tmp_path: Path) -> None:
    job = job_of(tmp_path / "runs", tracking={"uri": "mlruns"})
    store = RunStore.open(job.spec.output, "local", run_name("noto", job.spec), tmp_path)
    store.write_json(RUN_FILE, RunRecord(name="noto", run=store.name, spec=job.spec, created=BEGAN))
    store.write_json(STATUS_FILE, report("Succeeded"))
    train_on(store, 0, 3)
    outcome = run(job, RunOptions(tmp_path), lambda _: None)
    assert outcome.report.phase == "Succeeded"
    (losses,) = (tmp_path / "mlruns").glob("*/*/metrics/loss")
    assert [line.split()[2] for line in losses.read_text().splitlines()] == ["1", "2", "3"]
