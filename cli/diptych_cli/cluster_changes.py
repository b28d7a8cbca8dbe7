"""What people ask of a job or a model on a cluster: one merge patch each, which the operator honours."""

from collections.abc import Mapping
from typing import Any

import typer

from diptych_api.diffusionmodel import DiffusionModelStatus
from diptych_api.errors import UserError
from diptych_api.names import CANCEL_ANNOTATION, RETRY_ANNOTATION
from diptych_cli.cluster import Cluster, connect
from diptych_cli.cluster_job import OVER, ClusterJob, job_named
from diptych_cli.promote_request import PromoteRequest
from diptych_cli.where import Where
from diptych_operator.kinds import DIFFUSION_MODEL, FINE_TUNE_JOB


def cancel(target: str, where: Where) -> None:
    """End a job for good; its status and its run store stay. Raises DiptychError."""
    cluster, job = _job(target, where)
    phase = job.status.phase
    if phase in {"Succeeded", "Failed"}:
        raise UserError(f"{job.name} has {phase.lower()} already: there is nothing to cancel.")
    _annotate(cluster, job.name, CANCEL_ANNOTATION, "true")
    typer.echo(f"✓ {job.name} is cancelled." if phase == "Cancelled" else f"✓ {job.name} will be cancelled.")
    typer.echo(f"next: diptych logs {job.name} -f")


def suspend(target: str, where: Where) -> None:
    """Stop a job after a checkpoint and give its pods back. Raises DiptychError."""
    cluster, job = _job(target, where)
    if job.status.phase in OVER:
        raise UserError(f"{job.name} has ended ({job.status.phase}): there is nothing to suspend.")
    cluster.patch(FINE_TUNE_JOB, job.name, {"spec": {"suspend": True}})
    typer.echo(f"✓ {job.name} saves a checkpoint and stops.\nnext: diptych resume {job.name}")


def resume(target: str, where: Where) -> None:
    """Let a suspended job go on, or give a failed one another attempt. Raises DiptychError."""
    cluster, job = _job(target, where)
    status = job.status
    if status.phase in {"Succeeded", "Cancelled"}:
        raise UserError(
            f"{job.name} has {status.phase.lower()}; it cannot go on.",
            hint="Apply the YAML again under another name: what was encoded is found again.",
        )
    if status.phase == "Failed":
        _annotate(cluster, job.name, RETRY_ANNOTATION, str(status.attempt))
        typer.echo(f"✓ {job.name} gets one more attempt after attempt {status.attempt}.")
    if job.suspend:
        cluster.patch(FINE_TUNE_JOB, job.name, {"spec": {"suspend": False}})
        typer.echo(f"✓ {job.name} goes on from its last checkpoint.")
    elif status.phase != "Failed":
        typer.echo(f"{job.name} is not suspended ({status.phase}).")
    typer.echo(f"next: diptych logs {job.name} -f")


def promote(request: PromoteRequest, where: Where) -> None:
    """Pin a model to a run, or take the pin away. Raises DiptychError."""
    request.check(f"Its versions: diptych get models {request.model} --json")
    cluster = connect(where)
    status = DiffusionModelStatus.model_validate(cluster.get(DIFFUSION_MODEL, request.model).get("status") or {})
    run = None if request.unpin else _run(request, status, cluster)
    cluster.patch(DIFFUSION_MODEL, request.model, {"spec": {"pin": run}})
    typer.echo(f"{request.told(run)}\nnext: diptych get models {request.model}")


def _run(request: PromoteRequest, status: DiffusionModelStatus, cluster: Cluster) -> str:
    """Return the run that is meant. Raises UserError for one that nobody made."""
    if request.rollback:
        if status.previous is None:
            raise UserError(f"{request.model} has no version before this one.")
        return status.previous.run
    run = str(request.run)
    versions = (status.current, status.previous, status.candidate, *status.history)
    known = {version.run for version in versions if version is not None} | _runs_of_jobs(cluster)
    if run not in known:
        listed = ", ".join(sorted(known)) or "none yet"
        raise UserError(f"No run {run} is known in namespace {cluster.namespace}.", hint=f"Runs: {listed}.")
    return run


def _runs_of_jobs(cluster: Cluster) -> set[str]:
    """Return the names of the runs that left an artifact."""
    jobs = cluster.list(FINE_TUNE_JOB)["items"]
    statuses = [job.get("status") or {} for job in jobs]
    return {str(status["run"]).rstrip("/").rpartition("/")[2] for status in statuses if _has_artifact(status)}


def _has_artifact(status: Mapping[str, Any]) -> bool:
    return bool(status.get("artifact")) and bool(status.get("run"))


def _job(target: str, where: Where) -> tuple[Cluster, ClusterJob]:
    name, there = job_named(target, where)
    cluster = connect(there)
    return cluster, ClusterJob.of(cluster.get(FINE_TUNE_JOB, name))


def _annotate(cluster: Cluster, name: str, annotation: str, value: str) -> None:
    cluster.patch(FINE_TUNE_JOB, name, {"metadata": {"annotations": {annotation: value}}})
