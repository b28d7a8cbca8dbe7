"""Whether an attempt has ended, why, and what follows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from diptych_api.jobstatus import JobFailure, JobPhase, RunningAttempt
from diptych_api.report import Report
from diptych_operator.jobs.attempts import seconds_to_budget, seconds_to_deadline
from diptych_operator.jobs.failures import failure, failure_of, kind_of
from diptych_operator.jobs.heads import is_lost
from diptych_operator.jobs.ray_state import RayState
from diptych_operator.jobs.turn import Turn
from diptych_operator.pod_failures import why_ended

ARTIFACT_WAIT_S: Final = 60
"""How long after the end of the Ray job its last report may take to arrive."""
REPORT_WAIT_S: Final = 5
"""The same after a failure: watches of different kinds overtake each other, and the report knows why best."""
ENDED: Final = frozenset({"Succeeded", "Failed", "Suspended", "Cancelled"})
DISRUPTED: Final = frozenset({"Drained", "Preempted", "NodeLost", "Evicted"})


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended."""

    reason: str
    phase: JobPhase
    """Phase of the job from now on."""
    failure: JobFailure | None = None
    at: datetime | None = None
    """When it ended; None for now."""


def outcome(turn: Turn, current: RunningAttempt) -> End | None:
    """Return how the attempt ended; None while it goes on."""
    ray, report = turn.ray, turn.report_of(current.number)
    if ray is not None and ray.deployment == "Complete":
        return _complete(turn, ray, report)
    if ray is not None and ray.deployment in {"Failed", "ValidationFailed"}:
        return _failed(turn, ray, report)
    if ray is None or (turn.seen.ray_job is not None and turn.seen.ray_job.deleting):
        return asked(turn) or failed(turn, failure("RayJobDeleted", "The RayJob was deleted by somebody else."))
    return asked(turn) or _out_of_bounds(turn, current) or _head_lost(turn, ray, current)


def seconds_to_look(turn: Turn, current: RunningAttempt) -> float | None:
    """Return after how many seconds something happens of which no event tells."""
    waits = [
        seconds_to_budget(turn.job, current, turn.now),
        seconds_to_deadline(turn.job, _start(turn, current), turn.now),
    ]
    if turn.ray is not None and turn.ray.is_over:
        patience_s = ARTIFACT_WAIT_S if turn.ray.deployment == "Complete" else REPORT_WAIT_S
        waits.append(patience_s - (turn.now - _end(turn, turn.ray)).total_seconds())
    return min((max(wait, 0) for wait in waits if wait is not None), default=None)


def asked(turn: Turn) -> End | None:
    """Return the end that somebody asked for."""
    if turn.is_cancelled:
        return End("Cancelled", "Cancelled")
    return End("Suspended", "Suspending") if turn.job.spec.suspend else None


def failed(turn: Turn, why: JobFailure, at: datetime | None = None) -> End:
    """Return the end of a failed attempt: whether another one follows depends on why and on how many failed."""
    kind = kind_of(why.reason)
    failures = turn.status.failures + kind.counts
    if turn.is_cancelled:
        return End(why.reason, "Cancelled", why, at)
    if kind.permanent or failures > turn.job.spec.retry.backoff_limit:
        return End(why.reason, "Failed", why, at)
    return End(why.reason, "Suspending" if turn.job.spec.suspend else "Retrying", why, at)


def _complete(turn: Turn, ray: RayState, report: Report | None) -> End | None:
    if ray.job == "STOPPED":
        return asked(turn) or _interrupted(turn, ray) or End("Stopped", "Cancelled", None, ray.ended)
    if ray.job != "SUCCEEDED" or (report is not None and report.failure is not None):
        return _failed(turn, ray, report)
    if report is not None and report.phase == "Succeeded" and report.artifact is not None:
        return End("Succeeded", "Succeeded", None, ray.ended)
    if (turn.now - _end(turn, ray)).total_seconds() < ARTIFACT_WAIT_S:
        return None
    what = f"its report says {report.phase}" if report else "it sent no report"
    return failed(turn, failure("ArtifactMissing", f"Ray says that the job succeeded, but {what}."), ray.ended)


def _failed(turn: Turn, ray: RayState, report: Report | None) -> End | None:
    if turn.is_cancelled:
        return End("Cancelled", "Cancelled", None, ray.ended)
    if _may_report(turn, ray, report):
        return None
    if report is not None and report.phase == "Suspended" and ray.reason in {"", "AppFailed"}:
        stopped = failure(
            "Interrupted", "The program was asked to stop, by nobody that Diptych knows.", step=report.step
        )
        return asked(turn) or _interrupted(turn, ray) or failed(turn, stopped, ray.ended)
    return failed(turn, failure_of(turn.seen, ray, report), ray.ended)


def _may_report(turn: Turn, ray: RayState, report: Report | None) -> bool:
    """Whether the program's last word may still be on its way, and nothing else says why it failed."""
    told = ray.reason != "AppFailed" or (report is not None and report.phase in ENDED)
    why = why_ended(turn.seen.pods)
    known = why is not None and why.reason != "ContainerFailed"
    return not told and not known and (turn.now - _end(turn, ray)).total_seconds() < REPORT_WAIT_S


def _interrupted(turn: Turn, ray: RayState) -> End | None:
    """Return the end of an attempt whose pods had to go."""
    why = why_ended(turn.seen.pods)
    if why is None or why.reason not in DISRUPTED:
        return None
    told = failure(why.reason, why.message, step=turn.report.step if turn.report else None)
    return failed(turn, told.model_copy(update={"pod": why.pod}), ray.ended)


def _head_lost(turn: Turn, ray: RayState, current: RunningAttempt) -> End | None:
    """Return the end of an attempt whose head was lost; KubeRay would go on in another one and count nothing."""
    report = turn.report_of(current.number)
    if not is_lost(current, ray, turn.seen.pods) or (report is not None and report.phase == "Succeeded"):
        return None
    if (interrupted := _interrupted(turn, ray)) is not None:
        return interrupted
    if report is not None and report.phase == "Suspended":
        return failed(turn, failure("Interrupted", "The program was asked to stop, and its head pod is gone."))
    if why_ended(turn.seen.pods) is None and (report is None or report.failure is None):
        return failed(turn, failure("HeadLost", "The head ended, and another one took its place."))
    return failed(turn, failure_of(turn.seen, ray, report))


def _out_of_bounds(turn: Turn, current: RunningAttempt) -> End | None:
    job, now = turn.job, turn.now
    if seconds_to_deadline(job, _start(turn, current), now) == 0:
        limit = job.spec.active_deadline_seconds
        return failed(
            turn, failure("DeadlineExceeded", f"The job took longer than {limit} s, its activeDeadlineSeconds.")
        )
    if seconds_to_budget(job, current, now) == 0:
        limit = job.spec.max_gpu_seconds
        return failed(
            turn, failure("GpuBudgetExceeded", f"The job used its {limit} GPU seconds, as maxGpuSeconds says.")
        )
    return None


def _start(turn: Turn, current: RunningAttempt) -> datetime | None:
    """Return when the attempt began; None while it waits for its turn, which does not count."""
    return None if turn.ray is not None and turn.ray.is_held else current.start_time


def _end(turn: Turn, ray: RayState) -> datetime:
    return ray.ended or ray.created or turn.now
