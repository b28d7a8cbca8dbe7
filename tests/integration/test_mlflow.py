"""A real MLflow server, with SQLite and an artifact store, hears of a run once, dies meanwhile, and hears the rest."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from diptych_api.diffusionmodel import ModelVersion
from diptych_training.promotion import change_pointer, pinned
from diptych_training.reporter import Reporter
from diptych_training.tracking.delivery import Delivery
from diptych_training.tracking.place import place_of
from diptych_training.tracking.tracker import Tracker
from support.ports import free_ports
from support.tracking import ARTIFACT, BEGAN, past_run, report, train_on
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
MLFLOW = "mlflow==3.17.2"
STARTS_S = 300
ROOT = Path(__file__).parents[2]
DONE = report("Succeeded", step=9, artifact=ARTIFACT, metrics=[{"name": "KID", "base": 0.2, "tuned": 0.1}])


@dataclass
class Mlflow:
    """A server with its own environment, which is stopped and started over the same files."""

    home: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have it run while the body does; it is killed afterwards."""
        uv = shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
        command = [uv, "tool", "run", "--from", MLFLOW, "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        places = [f"sqlite:///{self.home}/mlflow.db", "--artifacts-destination", str(self.home / "artifacts")]
        with (self.home / "log.txt").open("ab") as log:
            command += ["--backend-store-uri", *places]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            until(self._answers, timeout_s=STARTS_S)
            yield
        finally:
            os.killpg(process.pid, 9)
            process.wait()

    def get(self, path: str, /, **query: str) -> Any:
        """Return an answer of its REST interface."""
        return httpx2.get(f"{self.url}/api/2.0/mlflow/{path}", params=query, timeout=60).raise_for_status().json()

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs of the experiment."""
        experiment = self.get("experiments/get-by-name", experiment_name="diptych")["experiment"]["experiment_id"]
        found = httpx2.post(f"{self.url}/api/2.0/mlflow/runs/search", json={"experiment_ids": [experiment]}, timeout=60)
        runs: list[dict[str, Any]] = found.raise_for_status().json()["runs"]
        return runs

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health", timeout=5).is_success
        except httpx2.HTTPError:
            return False


def test_a_run_is_told_once_though_the_server_dies_in_the_middle(tmp_path: Path) -> None:
    server = Mlflow(tmp_path)
    store, spec = past_run(tmp_path, steps=700, uri=server.url)
    assert spec.tracking is not None
    heard: list[str] = []
    place = place_of(spec.tracking, {})
    with Tracker(Delivery(store, spec.tracking, place), every_s=0.1, first_pause_s=0.1) as tracker:
        reporter = Reporter(lambda told: heard.append(told.message), store, tracker=tracker)
        with server.running():
            reporter.phase("Training")
            until(lambda: tracker.is_told, timeout_s=60)
        train_on(store, 700, 720)
        reporter.update(step=8)
        until(lambda: bool(tracker.asides), timeout_s=60)
        reporter.update(step=9)
        with server.running():
            until(lambda: tracker.is_told, timeout_s=120)
            tracker.patience_s = 120
            reporter.update(phase=DONE.phase, artifact=DONE.artifact, metrics=DONE.metrics)
            until(lambda: tracker.is_told, timeout_s=120)
            Delivery(store, spec.tracking, place).bring(DONE)
            _expect(server)
            version = ModelVersion(
                run=store.name, uri="x", digest=f"sha256:{'0' * 64}", promoted_at=BEGAN, promoted_by="a person"
            )
            change_pointer(store, "noto", partial(pinned, version=version))
            Delivery(store, spec.tracking, place).bring(DONE)
            named = server.get("registered-models/alias", name="noto", alias="champion")["model_version"]
            assert named["run_id"] == server.runs()[0]["info"]["run_id"]
    assert any("it is told later" in message for message in heard)


def _expect(server: Mlflow) -> None:
    """See the whole run, once."""
    (run,) = server.runs()
    data, info = run["data"], run["info"]
    params = {param["key"]: param["value"] for param in data["params"]}
    metrics = {metric["key"]: metric["value"] for metric in data["metrics"]}
    assert (info["status"], params["lora.rank"], metrics["loss"]) == ("FINISHED", "16", pytest.approx(1 / 720))
    assert metrics["evaluation/KID/tuned"] == 0.1
    history = server.get("metrics/get-history", run_id=info["run_id"], metric_key="loss", max_results="5000")
    assert [metric["step"] for metric in history["metrics"]] == list(range(1, 721))
    found = server.get("artifacts/list", run_id=info["run_id"], path="artifact/peft")
    assert [file["path"] for file in found["files"]] == ["artifact/peft/adapter model.safetensors"]
    (version,) = server.get("model-versions/search", filter="name='noto'")["model_versions"]
    assert version["run_id"] == info["run_id"]
    named = server.get("registered-models/alias", name="noto", alias="candidate")["model_version"]
    assert named["version"] == version["version"]
