"""One job that is played: KubeRay's part, and that of the program."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from cluster.control_plane import ControlPlane
from cluster.objects import reference
from cluster.player import Player
from diptych_api import names
from diptych_api.fields import API_VERSION
from diptych_bench.operator_plane import NAMESPACE
from diptych_operator.kinds import FINE_TUNE_JOB, FINE_TUNE_REPORT, RAY_JOB, Manifest
from support.waiting import until

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "examples" / "noto-style.yaml"
PATTERN: Final = "pattern-of-all-jobs"
PLACE: Final = {"uri": "s3://bucket/runs"}
PICTURES: Final = {"uri": "s3://bucket/pictures"}
STEPS: Final = 300
ENDED: Final = "sha256:" + "0" * 64


def job(name: str) -> Manifest:
    """Return the job of the example, with its files in a bucket."""
    found: Manifest = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    found["metadata"] = {"name": name, "namespace": NAMESPACE}
    found["spec"]["output"] = PLACE
    found["spec"]["dataset"]["source"] = PICTURES
    return found


def report(job_name: str, uid: str, said: dict[str, Any]) -> Manifest:
    """Return the report of a job's run."""
    owner = {"apiVersion": API_VERSION, "kind": FINE_TUNE_JOB.kind, "name": job_name, "uid": uid}
    metadata = {"name": names.report_name(job_name), "namespace": NAMESPACE, "ownerReferences": [owner]}
    return {"apiVersion": API_VERSION, "kind": FINE_TUNE_REPORT.kind, "metadata": metadata, "spec": said}


def training(step: int) -> dict[str, Any]:
    """Return what a run says while it trains."""
    return {
        "phase": "Training",
        "step": step,
        "totalSteps": STEPS,
        "loss": round(0.2 - step / 10_000, 4),
        "imagesPerSecond": 12.5,
        "etaSeconds": float(STEPS - step),
        "time": _now(),
    }


def finished() -> dict[str, Any]:
    """Return the last word of a run."""
    place = f"{PLACE['uri']}/somewhere"
    artifact = {"uri": f"{place}/artifact", "digest": ENDED, "sizeBytes": 1 << 20, "trainableParameters": 100_000}
    checkpoint = {"step": STEPS, "uri": f"{place}/checkpoints/{STEPS}", "time": _now()}
    return {**training(STEPS), "phase": "Succeeded", "etaSeconds": 0.0, "artifact": artifact, "checkpoint": checkpoint}


class Stage:
    """Plays a job: KubeRay's part, and that of the program."""

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self.api, self.name = plane.api, name
        self.player = Player(plane.client("status-player"))
        self.target = reference(API_VERSION, FINE_TUNE_JOB.kind, name, NAMESPACE)

    def begin(self) -> None:
        """Create the job and wait until its RayJob is there."""
        self.api.create(job(self.name))
        child = reference(RAY_JOB.api_version, RAY_JOB.kind, names.ray_job_name(self.name), NAMESPACE)
        until(lambda: self.api.is_there(child))

    def play(self, state: str) -> None:
        """Let KubeRay say something."""
        self.player.play(RAY_JOB.kind, NAMESPACE, names.ray_job_name(self.name), state)

    def say(self, said: dict[str, Any]) -> None:
        """Let the program report."""
        uid = self.api.read(self.target)["metadata"]["uid"]
        self.api.apply(report(self.name, uid, said), manager=names.REPORT_MANAGER)

    def status(self) -> dict[str, Any]:
        """Return the status of the job."""
        return dict(self.api.read(self.target).get("status") or {})

    def await_status(self, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until something holds for the status."""
        until(lambda: holds(self.status()))


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
