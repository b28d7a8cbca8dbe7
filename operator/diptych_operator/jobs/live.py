"""An attempt that runs: follow it, keep its children right, and remember how it ended before anything is deleted."""

from typing import Any

from diptych_api.jobstatus import JobPhase, RunningAttempt
from diptych_operator.child import settle
from diptych_operator.jobs.aspects import gone, provisioned
from diptych_operator.jobs.attempts import ended, followed, gpu_seconds
from diptych_operator.jobs.children import ray_job_with, shared_children
from diptych_operator.jobs.failures import kind_of
from diptych_operator.jobs.heads import with_head
from diptych_operator.jobs.outcome import End, outcome, seconds_to_look
from diptych_operator.jobs.ray_state import RayState
from diptych_operator.jobs.status import planned
from diptych_operator.jobs.turn import OVER, Turn
from diptych_operator.plan import Action, Plan


def plan_live(turn: Turn, current: RunningAttempt) -> Plan:
    """Return the plan while an attempt goes on, or the one that remembers its end."""
    if turn.ray is not None:
        current = with_head(followed(turn.job, current, turn.ray, turn.now), turn.ray, turn.seen.pods)
    if (end := outcome(turn, current)) is not None or turn.ray is None:
        return _remembered(turn, current, end or End("RayJobDeleted", "Retrying"))
    ray, report = turn.ray, turn.report_of(current.number)
    until = report.time if report and report.time <= turn.now else None  # a pod's clock may be ahead
    changes: dict[str, Any] = {
        "attempt": current.number,
        "current": current,
        "ray_job_name": turn.job.metadata.name,
        "ray_cluster_name": ray.cluster,
        "start_time": turn.status.start_time or current.start_time,
        "completion_time": None,
        "gpu_seconds": max(turn.status.gpu_seconds, gpu_seconds(turn.job, current, until)),
    }
    return planned(
        turn,
        phase_of(turn, ray, current),
        provisioned(turn, ray),
        changes=changes,
        actions=() if turn.refused else _upkeep(turn, ray),
        requeue_s=seconds_to_look(turn, current),
    )


def phase_of(turn: Turn, ray: RayState, current: RunningAttempt) -> JobPhase:
    """Return the phase of a job whose attempt goes on."""
    if ray.deployment in {"Initializing", "Retrying"}:
        return "Provisioning"
    if ray.is_held or not ray.deployment:
        return "Retrying" if turn.status.phase in {"Retrying", "Failed"} else "Pending"
    begun = ray.job not in {"", "PENDING"} or turn.report_of(current.number) is not None
    return "Running" if begun else "Starting"


def _upkeep(turn: Turn, ray: RayState) -> tuple[Action, ...]:
    """Return what repairs the children. A RayJob in a queue is left alone: the queue writes into it."""
    found = turn.seen.ray_job
    wanted = None if found is None or ray.queued else ray_job_with(turn, found)
    return (*shared_children(turn), *(settle(found, wanted) if wanted else ()))


def _remembered(turn: Turn, current: RunningAttempt, end: End) -> Plan:
    """Return the plan that writes the end of an attempt down and does nothing else."""
    at = end.at or turn.now
    report = turn.report_of(current.number)
    changes: dict[str, Any] = dict(ended(turn.job, current, end.reason, report, at))
    changes["start_time"] = turn.status.start_time or current.start_time
    if end.failure is not None:
        changes["last_failure"] = end.failure
        changes["failures"] = turn.status.failures + kind_of(end.reason).counts
    if end.phase in OVER:
        changes["completion_time"] = at.replace(microsecond=0)
    if end.phase == "Succeeded":
        changes |= {"artifact": report.artifact if report else None, "last_failure": None}
    return planned(
        turn, end.phase, gone("Finished" if end.phase in OVER else "AttemptEnded"), changes=changes, requeue_s=0
    )
