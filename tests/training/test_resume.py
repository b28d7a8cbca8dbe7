"""Runs that are killed at random moments and started again: losses and weights equal an undisturbed loop's, bitwise."""

import os
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from support import bare_runs
from support.real_runs import checkpoint_hashes, losses, run_folder, started, write_job
from support.tiny_jobs import tiny_share

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
STEPS = 400
"""So many that a quick machine has not done them all before it hears of a signal: it does fifty in a second."""
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
        "validation": {"everySteps": 20, "draws": 1},
    },
    "evaluation": {"enabled": False},
}
OURS = {key: SPEC[key] for key in ("lora", "training", "evaluation")}


def about(step: int) -> int:
    """Return a step at random, up to seven after this one."""
    return step + random.randrange(8)


@dataclass(frozen=True)
class Undisturbed:
    """What a loop without Ray made of the job: where its base and pictures are, every loss, the last checkpoint."""

    folder: Path
    losses: dict[tuple[int, str], float]
    hashes: dict[str, Any]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As many threads as the workers have, for the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed(folder, *bare_runs.undisturbed(tiny_share(folder, **OURS)))


def copy_inputs(undisturbed: Undisturbed, folder: Path) -> Path:
    """Copy base, pictures and what is encoded of them."""
    for name, target in (("base", "base"), ("pictures", "pictures"), ("cache", "runs/local/cache/encoded")):
        shutil.copytree(undisturbed.folder / name, folder / target)
    write_job(folder, SPEC)
    return folder


def go_on(folder: Path) -> None:
    """Start the run again and see it end well."""
    with started(folder) as run:
        code, report = run.finish()
    assert code == 0, (folder / "stderr.txt").read_text()
    assert report is not None
    assert report.phase == "Succeeded"


def test_a_run_that_is_killed_in_every_way_ends_like_the_undisturbed_one(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    folder = copy_inputs(undisturbed, tmp_path)
    a_lost_worker_is_replaced_until_the_driver_is_killed(folder)
    all_its_processes_are_killed_and_the_newest_checkpoint_is_torn(folder)
    for number, step in ((signal.SIGINT, 42), (signal.SIGTERM, 56)):
        a_signal_saves_and_says_how_to_go_on(folder, number, about(step))
    go_on(folder)
    assert losses(folder) == undisturbed.losses
    assert checkpoint_hashes(run_folder(folder)) == undisturbed.hashes


def a_lost_worker_is_replaced_until_the_driver_is_killed(folder: Path) -> None:
    with started(folder) as run:
        run.until_trained(about(12))
        (worker,) = run.pids("RayTrainWorker")
        os.kill(worker, signal.SIGKILL)
        lost = run.until(lambda report: report.attempt == 2)
        run.until(lambda report: report.step > lost.step)
        run.process.kill()
        run.process.wait()


def all_its_processes_are_killed_and_the_newest_checkpoint_is_torn(folder: Path) -> None:
    with started(folder) as run:
        run.until_trained(about(34))
        run.kill_all()
    newest = max((run_folder(folder) / "checkpoints").glob("step-*"))
    weights = newest / "parameters.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])


def a_signal_saves_and_says_how_to_go_on(folder: Path, number: signal.Signals, step: int) -> None:
    with started(folder) as run:
        run.until_trained(step)
        os.kill(run.process.pid, number)
        code, report = run.finish()
    assert code == 130, (folder / "stderr.txt").read_text()
    assert report is not None
    assert report.phase == "Suspended"
    assert report.step < STEPS
    assert "diptych run job.yaml" in (folder / "stderr.txt").read_text()
