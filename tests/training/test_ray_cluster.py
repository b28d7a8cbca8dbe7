"""A Ray cluster whose nodes go, or have no room: a run goes on elsewhere and does no step twice, or stops when told."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from support.tiny_jobs import write_pictures
from support.tiny_models import make_pipeline
from support.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
PROGRAMS = Path(sys.executable).parent
STEPS = 600
NEVER = 10_000
SPEC: dict[str, Any] = {
    "lora": {"rank": 2, "alpha": 2},
    "training": {"steps": STEPS, "checkpoint": {"everySteps": NEVER}, "validation": {"everySteps": NEVER, "draws": 1}},
    "evaluation": {"enabled": False},
}
NOTICE = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot", "--deadline-remaining-seconds", "600")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Yield a Ray cluster of a head without CPUs and two nodes with one each."""
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    monkeypatch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "0.5")
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 10**8})
    try:
        for _ in range(2):
            found.add_node(num_cpus=1, object_store_memory=10**8)
        ray.init(address=found.address, log_to_driver=False)
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def test_a_run_goes_on_elsewhere_from_the_step_that_it_had_reached(cluster: Cluster, tmp_path: Path) -> None:
    with running(tmp_path, cluster.address) as process:
        until(lambda: bool(steps(tmp_path)), every_s=0.2)
        drain(cluster.address, busy_node())
        said = process.communicate(timeout=240)[0]
    assert process.returncode == 0, said
    assert "A node is about to go. Saved at step" in said
    assert steps(tmp_path) == list(range(1, STEPS + 1))


def test_ctrl_c_ends_a_run_that_waits_for_room(cluster: Cluster, tmp_path: Path) -> None:
    with running(tmp_path, cluster.address, workers=3) as process:
        until(waits_for_room, every_s=0.2)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert "Stopped before a step." in said


@contextmanager
def running(folder: Path, address: str, workers: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Start `diptych run` with a tiny base and pictures of the folder; it does not outlive the body."""
    make_pipeline(folder / "base")
    places = {
        "base": {"uri": str(folder / "base")},
        "dataset": {
            "source": {"uri": str(write_pictures(folder / "pictures"))},
            "split": {"count": 4},
            "image": {"size": 64},
        },
        "output": {"uri": str(folder / "runs")},
        "resources": {"workers": workers},
    }
    job = {"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": "moved"}}
    (folder / "job.yaml").write_text(yaml.safe_dump(job | {"spec": SPEC | places}), encoding="utf-8")
    command: list[str | Path] = [PROGRAMS / "diptych", "run", folder / "job.yaml", "--address", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def steps(folder: Path) -> list[int]:
    """Return the steps of which the run has told a loss, in their order."""
    lines = [line for file in folder.glob("runs/*/*/metrics.jsonl") for line in file.read_text().splitlines()]
    return [row["step"] for row in map(json.loads, lines) if "loss" in row]


def waits_for_room() -> bool:
    """Whether workers are wanted that the cluster has no place for."""
    return any(group["state"] == "PENDING" for group in placement_group_table().values())


def busy_node() -> str:
    """Return the node on which the worker trains."""
    free = ray._private.state.available_resources_per_node()
    there = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    [busy] = [node for node in there if not free[node].get("CPU")]
    return str(busy)


def drain(address: str, node: str) -> None:
    """Tell Ray that a node will go, as an autoscaler does that got the notice of a spot machine."""
    place = ("--address", address, "--node-id", node)
    subprocess.run([PROGRAMS / "ray", "drain-node", *place, *NOTICE], check=True, capture_output=True)
