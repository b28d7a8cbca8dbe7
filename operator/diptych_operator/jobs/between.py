"""Between two attempts: take the old one away, wait until its pods are gone, then make the next."""

from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from diptych_api.errors import DiptychError
from diptych_api.jobstatus import JobFailure, JobPhase
from diptych_operator.jobs.aspects import NOT_TAKEN_UP, gone
from diptych_operator.jobs.attempts import MOST_ATTEMPTS, begun, seconds_to_deadline
from diptych_operator.jobs.children import shared_children
from diptych_operator.jobs.failures import failure, from_error, kind_of
from diptych_operator.jobs.status import planned
from diptych_operator.jobs.turn import Turn
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.rayjob import ray_job
from diptych_operator.plan import Apply, Plan
from diptych_operator.sealing import sealed

LOOK_S: Final = 30.0
LEAVING: Final = "KubeRay takes the RayJob of the ended attempt away. Is it running?"
PATIENCE_S: Final = 300
"""How long after their grace period pods of an ended attempt may stay before the next one starts all the same."""
FIRST_PAUSE_S: Final = 5
LONGEST_PAUSE_S: Final = 300
REFUSED_S: Final = 30.0


def plan_between(turn: Turn) -> Plan:
    """Return the plan of a job without a running attempt."""
    if (found := turn.seen.ray_job) is not None:
        actions = () if found.deleting else (found.delete,)
        return planned(turn, _phase(turn), gone("AttemptEnded", LEAVING), actions=actions, requeue_s=LOOK_S)
    if turn.is_cancelled:
        changes = {"completion_time": turn.now.replace(microsecond=0)}
        return planned(turn, "Cancelled", gone("Finished"), changes=changes)
    if (wait_s := _seconds_of_pods(turn)) > 0:
        return planned(turn, _phase(turn), gone("AttemptEnded"), requeue_s=wait_s)
    if turn.job.spec.suspend:
        return planned(turn, "Suspended", gone("AttemptEnded"))
    if (pause_s := _seconds_of_pause(turn)) > 0:
        return planned(turn, "Retrying", gone("AttemptEnded"), requeue_s=pause_s)
    return _next(turn)


def _next(turn: Turn) -> Plan:
    """Return the plan that makes the next attempt, or says why there is none."""
    number = turn.status.attempt + 1
    manifest = _manifest(turn, number)
    if isinstance(manifest, JobFailure):
        return _failed(turn, manifest)
    phase: JobPhase = "Retrying" if turn.status.phase in {"Retrying", "Failed"} else "Pending"
    if turn.refused:
        return planned(turn, phase, gone("AttemptEnded"), requeue_s=REFUSED_S)
    changes: dict[str, Any] = {
        "attempt": number,
        "current": begun(turn.status, number, turn.now),
        "ray_job_name": turn.job.metadata.name,
        "ray_cluster_name": None,
        "start_time": turn.status.start_time or turn.now.replace(microsecond=0),
        "completion_time": None,
    }
    known = bool(turn.status.attempts) and turn.status.attempts[-1].reason == "RayJobDeleted"
    return planned(
        turn,
        phase,
        gone("WaitingForKubeRay", NOT_TAKEN_UP),
        changes=changes,
        actions=(*shared_children(turn), Apply(sealed(manifest), repairs=known)),
    )


def _manifest(turn: Turn, number: int) -> Manifest | JobFailure:
    """Return the RayJob of the next attempt, or why there can be none."""
    left_s = seconds_to_deadline(turn.job, None, turn.now)
    budget = turn.job.spec.max_gpu_seconds
    if left_s == 0:
        return failure("DeadlineExceeded", f"The job took longer than {turn.job.spec.active_deadline_seconds} s.")
    if budget is not None and turn.status.gpu_seconds >= budget:
        return failure("GpuBudgetExceeded", f"The job used its {budget} GPU seconds.")
    if number > MOST_ATTEMPTS:
        return failure("TooManyAttempts", f"The job had {MOST_ATTEMPTS} attempts.")
    try:
        return ray_job(turn.job, number, turn.defaults, left_s)
    except DiptychError as error:
        return from_error(error)
    except ValidationError as error:
        return failure("SpecInvalid", f"spec.preset does not fit the fields that are set: {error.errors()[0]['msg']}.")


def _failed(turn: Turn, why: JobFailure) -> Plan:
    changes = {"last_failure": why, "completion_time": turn.now.replace(microsecond=0)}
    return planned(turn, "Failed", gone("Finished"), changes=changes)


def _phase(turn: Turn) -> JobPhase:
    """Return the phase while an ended attempt goes."""
    if turn.status.attempt == 0:
        return "Pending"
    return "Suspending" if turn.job.spec.suspend or turn.status.phase == "Suspending" else "Retrying"


def _seconds_of_pods(turn: Turn) -> float:
    """Return how long to wait for the pods of the last attempt: they hold its volumes and the lock of its run."""
    grace_s = turn.job.spec.resources.pods.termination_grace_period_seconds + PATIENCE_S
    return _seconds_after(turn, grace_s) if turn.seen.pods else 0


def _seconds_of_pause(turn: Turn) -> float:
    """Return how long to wait after a failure: longer after each, and not at all where the cluster was the cause."""
    last = turn.status.attempts[-1] if turn.status.attempts else None
    is_failure = turn.status.phase == "Retrying" and turn.status.failures and last and kind_of(last.reason).counts
    if not is_failure:
        return 0
    return _seconds_after(turn, min(FIRST_PAUSE_S * 2 ** min(turn.status.failures - 1, 10), LONGEST_PAUSE_S))


def _seconds_after(turn: Turn, seconds: float) -> float:
    ended: datetime | None = turn.status.attempts[-1].end_time if turn.status.attempts else None
    return 0 if ended is None else max((ended + timedelta(seconds=seconds) - turn.now).total_seconds(), 0)
