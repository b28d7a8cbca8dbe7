"""A folder with a job, and a run of it."""

from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from diptych_api.finetunejob import FineTuneJob
from diptych_api.report import CheckpointRef
from diptych_api.runstore import run_name
from diptych_api.yaml_reader import read_resource
from diptych_training.run_store import RunStore
from support.recorded_run import START, report

JOB = """\
apiVersion: diptych.dev/v1alpha1
kind: FineTuneJob
metadata: {name: noto-style}
spec:
  base: {builtin: tiny-emoji}
  lora: {rank: 8}
  dataset: {source: {uri: pictures}, image: {size: 64}}
  training: {steps: 300, batchSize: 16}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a job.yaml."""
    (tmp_path / "job.yaml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def begun(place: Path) -> RunStore:
    """The store of a run of job.yaml that is in the middle of training."""
    job = read_resource(place / "job.yaml")
    assert isinstance(job, FineTuneJob)
    store = RunStore(LocalFileSystem(), f"{place}/runs/local/{run_name('noto-style', job.spec)}")
    saved = CheckpointRef(step=200, uri=store.uri("checkpoints", "step-000200"), time=START)
    now = report("Training", step=214, total_steps=300, loss=0.113, val_loss=0.131, first_val_loss=0.187)
    store.write_json("status.json", now.model_copy(update={"checkpoint": saved}))
    store.append("metrics.jsonl", '{"step": 213, "loss": 0.12, "grad_norm": 0.5, "learning_rate": 0.0001}')
    store.append("metrics.jsonl", '{"step": 214, "loss": 0.113, "grad_norm": 0.4, "learning_rate": 0.0001}')
    return store


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random pipeline."""
    from support.tiny_models import make_pipeline  # noqa: PLC0415 - the other tests here need no torch

    return make_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture
def run(begun: RunStore, place: Path, base: Path) -> Path:
    """The folder of a run of job.yaml on the tiny base that left an artifact."""
    from support.adapter_runs import leave_artifact, tiny_adapter  # noqa: PLC0415 - as above

    changes = ["base.builtin=null", f"base.uri={base}", "evaluation.inferenceSteps=3"]
    job = read_resource(place / "job.yaml", changes)
    assert isinstance(job, FineTuneJob)
    return leave_artifact(begun, job.spec, tiny_adapter(base))
