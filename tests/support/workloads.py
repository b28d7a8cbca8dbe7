"""What people do with Diptych, step by step. A step acts, then yields what must become true before the next.

KubeRay and a job's program are played. Every step may be disturbed: what it waits for comes all the same.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from diptych_api.names import publisher_name
from diptych_operator.kinds import (
    DIFFUSION_DEPLOYMENT,
    DIFFUSION_MODEL,
    FINE_TUNE_JOB,
    RAY_JOB,
    RAY_SERVICE,
    Kind,
    Manifest,
)
from diptych_operator.kinds import JOB as JOB_KIND
from support.memory_moves import (
    GALLERY,
    JOB,
    MODEL,
    artifact,
    figures,
    gallery_spec,
    job_spec,
    model_spec,
)
from support.stage import Stage

Wanted = Callable[[], bool]
Steps = Iterator[Wanted]
Workload = Callable[[Stage], Steps]
PUBLIC = "s3://bucket/public"
ADAPTERS = [{"name": "fixed", "uri": "s3://bucket/fixed"}, {"name": "other", "uri": "s3://bucket/other"}]


def create(stage: Stage) -> Steps:
    """A job from its creation to its artifact."""
    yield from _running(stage)
    stage.report(JOB, phase="Training", step=10)
    yield lambda: stage.status(FINE_TUNE_JOB, JOB).get("progress", {}).get("step") == 10
    yield from _succeeded(stage)


def edit(stage: Stage) -> Steps:
    """A job whose pods are to be removed later, and a deployment whose adapters and replicas change."""
    yield from _running(stage)
    stage.edit(FINE_TUNE_JOB, JOB, ttlSecondsAfterFinished=120)
    yield lambda: _spec(stage, RAY_JOB, JOB).get("ttlSecondsAfterFinished") == 120
    stage.create(gallery_spec(adapters=ADAPTERS[:1]))
    yield from _serving(stage)
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, adapters=ADAPTERS)
    yield lambda: "s3://bucket/other" in _spec(stage, RAY_SERVICE, GALLERY).get("serveConfigV2", "")
    stage.play(RAY_SERVICE, GALLERY, "Running")
    yield _is(stage, DIFFUSION_DEPLOYMENT, GALLERY, "Ready")
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, replicas=2)
    yield lambda: '"num_replicas": 2' in _spec(stage, RAY_SERVICE, GALLERY).get("serveConfigV2", "")


def fail_and_retry(stage: Stage) -> Steps:
    """A job that loses a worker, and goes on in a second attempt."""
    yield from _running(stage)
    first = stage.uid(RAY_JOB, JOB)
    failure = {"reason": "WorkerLost", "message": "A worker is gone.", "step": 40}
    stage.report(JOB, phase="Failed", step=40, failure=failure)
    stage.play(RAY_JOB, JOB, "Failed")
    yield lambda: _attempts(stage) == ["WorkerLost"]
    yield lambda: stage.uid(RAY_JOB, JOB) not in ("", first)
    yield from _running(stage, made=True)
    yield from _succeeded(stage)


def suspend_and_resume(stage: Stage) -> Steps:
    """A job that is suspended while it runs, and goes on later; the same with a deployment."""
    yield from _running(stage)
    stage.edit(FINE_TUNE_JOB, JOB, suspend=True)
    yield _is(stage, FINE_TUNE_JOB, JOB, "Suspended")
    stage.edit(FINE_TUNE_JOB, JOB, suspend=False)
    yield lambda: stage.status(FINE_TUNE_JOB, JOB).get("attempt") == 2
    yield from _running(stage, made=True)
    stage.create(gallery_spec(adapters=ADAPTERS))
    yield from _serving(stage)
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, suspend=True)
    yield _is(stage, DIFFUSION_DEPLOYMENT, GALLERY, "Suspended")
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, suspend=False)
    yield from _serving(stage)


def promote(stage: Stage) -> Steps:
    """A model that a job's artifact becomes; it is published, and a deployment follows it; then a pin."""
    stage.create(model_spec())
    yield _is(stage, DIFFUSION_MODEL, MODEL, "Empty")
    stage.create(gallery_spec())
    yield from _serving(stage)
    stage.create(job_spec(publish={"uri": PUBLIC}))
    yield from _running(stage, made=True)
    yield from _succeeded(stage)
    yield _is(stage, DIFFUSION_MODEL, MODEL, "Ready")
    yield lambda: len(stage.pods_of(publisher_name(JOB))) == 1
    stage.ends(stage.pods_of(publisher_name(JOB))[0], 0, json.dumps({"published": [PUBLIC]}))
    yield lambda: stage.status(FINE_TUNE_JOB, JOB).get("published") == [PUBLIC]
    yield lambda: stage.find(JOB_KIND, publisher_name(JOB)) is None
    yield lambda: artifact()["uri"] in _spec(stage, RAY_SERVICE, GALLERY).get("serveConfigV2", "")
    stage.edit(DIFFUSION_MODEL, MODEL, pin=stage.status(DIFFUSION_MODEL, MODEL)["current"]["run"])
    yield _is(stage, DIFFUSION_MODEL, MODEL, "Pinned")


def delete_and_recreate(stage: Stage) -> Steps:
    """A job that is deleted while it runs, and made anew under its name."""
    yield from _running(stage)
    first = stage.uid(RAY_JOB, JOB)
    stage.delete(FINE_TUNE_JOB, JOB)
    yield lambda: stage.find(RAY_JOB, JOB) is None
    stage.create(job_spec())
    yield lambda: stage.uid(RAY_JOB, JOB) not in ("", first)
    yield from _running(stage, made=True)


WORKLOADS: dict[str, Workload] = {
    each.__name__: each for each in (create, edit, fail_and_retry, suspend_and_resume, promote, delete_and_recreate)
}


def _running(stage: Stage, *, made: bool = False) -> Steps:
    """Make the job, unless it is there, and let KubeRay start it."""
    if not made:
        stage.create(job_spec())
    yield (lambda: stage.find(RAY_JOB, JOB) is not None and stage.phase(FINE_TUNE_JOB, JOB) in ("Pending", "Retrying"))
    for states, phase in (
        (("Initializing",), "Provisioning"),
        (("WorkersStarting", "Submitting"), "Starting"),
        (("Running",), "Running"),
    ):
        stage.play(RAY_JOB, JOB, *states)
        yield _is(stage, FINE_TUNE_JOB, JOB, phase)


def _succeeded(stage: Stage) -> Steps:
    stage.report(JOB, phase="Succeeded", step=100, artifact=artifact(), **figures())
    stage.play(RAY_JOB, JOB, "Succeeded")
    yield _is(stage, FINE_TUNE_JOB, JOB, "Succeeded")


def _serving(stage: Stage) -> Steps:
    yield lambda: stage.find(RAY_SERVICE, GALLERY) is not None and stage.phase(DIFFUSION_DEPLOYMENT, GALLERY) != ""
    for states, phase in (
        (("Initializing",), "Provisioning"),
        (("Deploying",), "Starting"),
        (("Promoted", "Running"), "Ready"),
    ):
        stage.play(RAY_SERVICE, GALLERY, *states)
        yield _is(stage, DIFFUSION_DEPLOYMENT, GALLERY, phase)


def _is(stage: Stage, kind: Kind, name: str, phase: str) -> Wanted:
    return lambda: stage.phase(kind, name) == phase


def _spec(stage: Stage, kind: Kind, name: str) -> Manifest:
    found: dict[str, Any] = (stage.find(kind, name) or {}).get("spec", {})
    return found


def _attempts(stage: Stage) -> list[str]:
    return [attempt["reason"] for attempt in stage.status(FINE_TUNE_JOB, JOB).get("attempts", ())]
