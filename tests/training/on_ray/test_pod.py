"""`python -m diptych_training` as a pod runs it: a whole run, a wish to stop, a failure, each told to an API server."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray

from diptych_training.station import WISH
from support.patch_server import PatchServer, listening, write_account
from support.processes import descendants
from support.tiny_jobs import merged, tiny_share
from support.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
PROGRAM = [sys.executable, "-m", "diptych_training"]
SPEC: dict[str, Any] = {
    "base": {"pvc": {"claimName": "models", "path": "base"}},
    "lora": {"rank": 2, "alpha": 2},
    "dataset": {
        "source": {"pvc": {"claimName": "models", "path": "pictures"}},
        "split": {"count": 4},
        "image": {"size": 64},
    },
    "training": {"steps": 6, "batchSize": 4, "checkpoint": {"everySteps": 3}, "validation": {"everySteps": 3}},
    "evaluation": {"enabled": False},
    "output": {"pvc": {"claimName": "work"}, "credentials": {"name": "store", "key": "AWS_ACCESS_KEY_ID"}},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with a base and pictures, and what an earlier run encoded of them."""
    folder = tmp_path_factory.mktemp("models")
    tiny_share(folder)
    return folder


@pytest.fixture
def server() -> Iterator[PatchServer]:
    """A server that takes reports."""
    with listening() as taken:
        yield taken


def write_job(folder: Path, **changes: Any) -> Path:
    """Write the job file as the downward API does."""
    metadata = {"name": "tiny", "namespace": "team", "uid": "0af1", "generation": 2}
    job = {"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneJob", "metadata": metadata}
    (folder / "job.json").write_text(json.dumps(job | {"spec": merged(SPEC, changes)}))
    return folder / "job.json"


@pytest.fixture(autouse=True)
def no_wish(station: Path) -> None:
    """Let nobody hear a wish that an earlier test left."""
    (station / WISH).unlink(missing_ok=True)


def environment(folder: Path, models: Path) -> dict[str, str]:
    """Return what the operator and KubeRay set in the head pod; the station is there already."""
    mounts = {"models": str(models), "work": str(folder / "work")}
    told = {"DIPTYCH_ATTEMPT": "2", "DIPTYCH_REPORT": "kubernetes", "DIPTYCH_MOUNTS": json.dumps(mounts)}
    here = {"DIPTYCH_LOG": str(folder / "log.jsonl"), "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    return os.environ | told | here | {"DIPTYCH_RUN": "tiny-0badcafe", "OMP_NUM_THREADS": "1"}


def write_cache(folder: Path, models: Path) -> None:
    """Put what is encoded into the run store, where every run of the namespace finds it."""
    shutil.copytree(models / "cache", folder / "work" / "team" / "cache" / "encoded")


@contextmanager
def pod(folder: Path, models: Path, server: PatchServer) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the program on ``folder``/job.json; nothing of it outlives the body."""
    account = write_account(folder / "account")
    command = [*PROGRAM, "--job", str(folder / "job.json"), "--api-server", server.url, "--account", str(account)]
    with (folder / "stderr.txt").open("w") as errors:
        process = subprocess.Popen(command, cwd=folder, env=environment(folder, models), stdout=errors, stderr=errors)
    try:
        yield process
    finally:
        for pid in (*descendants("", process.pid), process.pid):
            with_pid_gone(pid)
        process.wait()


def with_pid_gone(pid: int) -> None:
    """Kill a process if it still runs."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_pod_trains_from_volumes_and_reports_to_the_end(tmp_path: Path, models: Path, server: PatchServer) -> None:
    write_job(tmp_path)
    server.refusals += [500]
    with pod(tmp_path, models, server) as process:
        assert process.wait() == 0, (tmp_path / "stderr.txt").read_text()
    first, *_, last = server.patches
    assert first.path == "/apis/diptych.dev/v1alpha1/namespaces/team/finetunereports/tiny"
    assert [spec["phase"] for spec in server.specs()][-1] == "Succeeded"
    assert (last.body["spec"]["step"], last.body["spec"]["attempt"]) == (6, 2)
    assert last.body["spec"]["artifact"]["uri"] == f"file://{tmp_path}/work/team/tiny-0badcafe/artifact"
    run = json.loads((tmp_path / "work/team/tiny-0badcafe/run.json").read_text())
    assert run["spec"]["base"]["pvc"]["claimName"] == "models"
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["phase"] == "Succeeded"
    assert "tried again" in (tmp_path / "stderr.txt").read_text()


def test_the_stop_hook_leaves_a_checkpoint_and_the_next_attempt_goes_on(
    tmp_path: Path, models: Path, server: PatchServer
) -> None:
    write_job(tmp_path, training={"steps": 5000, "checkpoint": {"everySteps": 4999}})
    write_cache(tmp_path, models)
    with pod(tmp_path, models, server) as process:
        until(lambda: any(spec.get("loss") for spec in server.specs()), 400)
        hook = subprocess.run([*PROGRAM, "--stop"], env=environment(tmp_path, models), check=False)
        assert hook.returncode == 0
        assert process.wait(timeout=30) == 130
    last = server.specs()[-1]
    assert last["phase"] == "Suspended"
    saved = [path.name for path in (tmp_path / "work/team/tiny-0badcafe/checkpoints").iterdir()]
    assert f"step-{last['step']:06}" in saved


def test_a_worker_alone_stops_the_run_when_its_pod_must_go(
    tmp_path: Path, models: Path, server: PatchServer, station: Path
) -> None:
    write_job(tmp_path, training={"steps": 5000, "checkpoint": {"everySteps": 4999}})
    write_cache(tmp_path, models)
    with pod(tmp_path, models, server) as process:
        until(lambda: any(spec.get("loss") for spec in server.specs()), 400)
        (station / WISH).touch()
        assert process.wait(timeout=60) == 130
    assert server.specs()[-1]["phase"] == "Suspended"


def test_a_failure_is_the_last_report_with_reason_and_hint(tmp_path: Path, models: Path, server: PatchServer) -> None:
    write_job(tmp_path, base={"pvc": {"claimName": "elsewhere"}})
    with pod(tmp_path, models, server) as process:
        assert process.wait() == 2
    last = server.specs()[-1]
    assert last["phase"] == "Failed"
    assert last["failure"]["reason"] == "UnsupportedHere"
    assert "spec.base.pvc: the volume 'elsewhere' is not mounted" in last["failure"]["message"]
    assert last["failure"]["hint"]
    assert "UnsupportedHere: spec.base.pvc" in (tmp_path / "stderr.txt").read_text()


def test_sigterm_before_training_began_is_a_wish_too(tmp_path: Path, models: Path, server: PatchServer) -> None:
    write_job(tmp_path)
    with pod(tmp_path, models, server) as process:
        until(lambda: bool(server.patches), 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 130
    assert server.specs()[-1]["phase"] == "Suspended"
    assert "failure" not in server.specs()[-1]


def test_a_job_file_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("apiVersion: diptych.dev/v1alpha1\nkind: FineTuneJob\nspec: {}\n")
    ended = subprocess.run([*PROGRAM, "--job", "job.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "spec.base: is missing" in ended.stderr
