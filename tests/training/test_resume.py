"""Runs that are killed and started again: losses and weights equal those of an undisturbed run, bitwise."""

import os
import shutil
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from support.real_runs import final_hashes, losses, run_folder, started, write_job
from support.tiny_jobs import merged, write_pictures
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.ray
STEPS = 90
SPEC: dict[str, Any] = {
    "base": {"uri": "base"},
    "lora": {"rank": 2, "alpha": 2, "dropout": 0.1},
    "dataset": {"source": {"uri": "pictures"}, "split": {"count": 4}, "image": {"size": 64}},
    "training": {
        "steps": STEPS,
        "batchSize": 4,
        "learningRate": 1e-2,
        "captionDropout": 0.25,
        "checkpoint": {"everySteps": 10, "keep": 50},
        "validation": {"everySteps": 30, "draws": 1},
    },
    "evaluation": {"enabled": False},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, pictures and one complete run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_pipeline(folder / "base")
    write_pictures(folder / "pictures")
    write_job(folder, SPEC)
    with started(folder) as run:
        code, report = run.finish()
    assert code == 0, (folder / "stderr.txt").read_text()
    assert report is not None
    assert report.phase == "Succeeded"
    return folder


def copy_inputs(undisturbed: Path, folder: Path, **changes: Any) -> Path:
    """Copy base, pictures and the encoded cache, not the run."""
    for name in ("base", "pictures", "runs/local/cache"):
        shutil.copytree(undisturbed / name, folder / name)
    write_job(folder, merged(SPEC, changes))
    return folder


def go_on(folder: Path) -> None:
    """Start the run again and see it end well."""
    with started(folder) as run:
        code, report = run.finish()
    assert code == 0, (folder / "stderr.txt").read_text()
    assert report is not None
    assert report.phase == "Succeeded"


def assert_same(folder: Path, undisturbed: Path) -> None:
    """Compare every loss and the hashes of the last checkpoint."""
    assert losses(folder) == losses(undisturbed)
    assert final_hashes(folder) == final_hashes(undisturbed)


def test_lost_worker_is_replaced_and_the_run_ends_well(undisturbed: Path, tmp_path: Path) -> None:
    """Kill -9 of the training worker; nobody starts anything again."""
    folder = copy_inputs(undisturbed, tmp_path)
    with started(folder) as run:
        run.until(lambda r: r.step >= Random(1).randint(12, 50))
        (worker,) = run.pids("RayTrainWorker")
        signal_to(worker, signal.SIGKILL)
        code, report = run.finish()
    assert code == 0, (folder / "stderr.txt").read_text()
    assert report is not None
    assert report.attempt == 2
    assert_same(folder, undisturbed)


@pytest.mark.parametrize("whole_group", [False, True], ids=["driver", "process group"])
def test_killed_run_goes_on_exactly(undisturbed: Path, tmp_path: Path, *, whole_group: bool) -> None:
    """Kill -9 at an arbitrary step, tear the newest checkpoint too, start again."""
    folder = copy_inputs(undisturbed, tmp_path)
    with started(folder) as run:
        run.until(lambda r: r.step >= Random(int(whole_group)).randint(12, 50))
        if whole_group:
            run.kill_all()
        else:
            run.process.kill()
            run.process.wait()
    if whole_group:
        newest = max((run_folder(folder) / "checkpoints").glob("step-*"))
        weights = newest / "parameters.safetensors"
        weights.write_bytes(weights.read_bytes()[:-7])
    go_on(folder)
    assert_same(folder, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_says_how_to_go_on(undisturbed: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 130, the command on the screen, and an exact continuation."""
    folder = copy_inputs(undisturbed, tmp_path)
    with started(folder) as run:
        run.until(lambda r: r.step >= 12)
        signal_to(run.process.pid, number)
        code, report = run.finish()
    assert code == 130, (folder / "stderr.txt").read_text()
    assert report is not None
    assert report.phase == "Suspended"
    assert "diptych run job.yaml" in (folder / "stderr.txt").read_text()
    go_on(folder)
    assert_same(folder, undisturbed)


def test_two_workers_learn_what_one_learns(undisturbed: Path, tmp_path: Path) -> None:
    """Same global batch: the same visits, noise and dropout, so losses within 1e-4 over 50 steps."""
    folder = copy_inputs(undisturbed, tmp_path, resources={"workers": 2}, training={"steps": 50})
    go_on(folder)
    one, two = losses(undisturbed), losses(folder)
    steps = range(1, 51)
    assert [two[step, "loss"] for step in steps] == pytest.approx([one[step, "loss"] for step in steps], rel=1e-4)


def signal_to(pid: int, number: signal.Signals) -> None:
    """Send a signal to one process."""
    os.kill(pid, number)
