"""One job that is really played to its end, and copies of it in any number."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from cluster.control_plane import ControlPlane
from cluster.objects import reference
from cluster.player import Player
from cluster.rest import Rest
from diptych_api import names
from diptych_api.fields import API_VERSION
from diptych_bench.operator_load import Load
from diptych_bench.operator_plane import NAMESPACE
from diptych_operator.kinds import FINE_TUNE_JOB, FINE_TUNE_REPORT, NETWORK_POLICY, RAY_JOB, Kind, Manifest
from diptych_operator.sealing import sealed, unsealed
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


@dataclass(frozen=True, slots=True)
class Pattern:
    """A job with its children and its report as they were stored at one moment."""

    job: Manifest
    children: tuple[Manifest, ...]
    report: Manifest

    @classmethod
    def of(cls, api: Rest, name: str) -> "Pattern":
        """Return what is stored now."""
        children = ((RAY_JOB, names.ray_job_name(name)), (NETWORK_POLICY, names.job_policy_name(name)))
        return cls(
            _read(api, FINE_TUNE_JOB, name),
            tuple(_read(api, kind, child) for kind, child in children),
            _read(api, FINE_TUNE_REPORT, names.report_name(name)),
        )

    async def copy(self, load: Load, name: str) -> None:
        """Store a job of another name with all that belongs to it, as the operator would have left it."""
        old, uid = self.job["metadata"]["name"], self.job["metadata"]["uid"]
        wanted = _renamed(_bare(self.job), old, name)
        made = await load.create({part: wanted[part] for part in ("apiVersion", "kind", "metadata", "spec")})

        def renamed(manifest: Manifest) -> Manifest:
            return _renamed(_renamed(manifest, old, name), uid, made["metadata"]["uid"])

        await load.merge(made, {"status": renamed(self.job)["status"]}, "status")
        for child in self.children:
            applied = unsealed(child)
            if applied is None:
                raise RuntimeError(f"{child['kind']} of {old} does not tell what was applied to it")
            await load.apply(sealed(renamed(applied)))
            if "status" in child:
                await load.merge(renamed(child), {"status": renamed(child)["status"]}, "status")
        await load.create(renamed(_bare(self.report)))


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


def _read(api: Rest, kind: Kind, name: str) -> Manifest:
    return api.read(reference(kind.api_version, kind.kind, name, NAMESPACE))


def _bare(stored: Manifest) -> Manifest:
    """Return an object without what the API server gives it."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    return {**stored, "metadata": {part: stored["metadata"][part] for part in kept if part in stored["metadata"]}}


def _renamed(manifest: Manifest, old: str, new: str) -> Manifest:
    found: Manifest = json.loads(json.dumps(manifest).replace(old, new))
    return found


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
