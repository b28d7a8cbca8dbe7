"""Attempts: which one runs, what it used, and how it is remembered once it has ended."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from diptych_api.finetunejob import FineTuneJob
from diptych_api.jobstatus import Attempt, FineTuneJobStatus, RunningAttempt
from diptych_api.report import Report
from diptych_operator.jobs.ray_state import RayState

REMEMBERED: Final = 10
MOST_ATTEMPTS: Final = 1000

Changes = Mapping[str, Any]
"""Fields of a FineTuneJobStatus."""


def gpus_of(job: FineTuneJob) -> int:
    """Return the GPUs of all workers together."""
    resources = job.spec.resources
    return resources.workers * resources.gpus_per_worker


def begun(status: FineTuneJobStatus, number: int, start: datetime) -> RunningAttempt:
    """Return the attempt that starts now from the newest checkpoint."""
    return RunningAttempt(
        number=number,
        from_step=status.checkpoint.step if status.checkpoint else 0,
        start_time=start.replace(microsecond=0),
        gpu_seconds_before=status.gpu_seconds,
    )


def followed(job: FineTuneJob, current: RunningAttempt, ray: RayState, now: datetime) -> RunningAttempt:
    """Return the attempt with the moment from which its GPUs count.

    A cluster that a queueing system took back has used what it used, and counts anew when it is there again.
    """
    if ray.deployment == "Suspended" and current.provisioned_time is not None:
        return current.model_copy(update={"provisioned_time": None, "gpu_seconds": _own(job, current, now)})
    if ray.is_held:
        return current
    start = max(current.start_time, ray.started or current.start_time)
    ready = current.provisioned_time or ray.provisioned or (now.replace(microsecond=0) if ray.is_running else None)
    return current.model_copy(update={"start_time": start, "provisioned_time": ready})


def gpu_seconds(job: FineTuneJob, current: RunningAttempt, until: datetime | None) -> float:
    """Return the GPU seconds of all attempts up to a moment."""
    return round(current.gpu_seconds_before + _own(job, current, until), 1)


def with_last_word(status: FineTuneJobStatus, report: Report) -> list[Attempt]:
    """Return the ended attempts; what the last of them reported while it saved and left is in."""
    if not status.attempts or status.attempts[-1].number != report.attempt:
        return status.attempts
    *earlier, last = status.attempts
    return [*earlier, last.model_copy(update={"to_step": max(last.to_step, report.step)})]


def _own(job: FineTuneJob, current: RunningAttempt, until: datetime | None) -> float:
    if until is None or current.provisioned_time is None:
        return current.gpu_seconds
    ran_s = max((until - current.provisioned_time).total_seconds(), 0)
    return round(current.gpu_seconds + gpus_of(job) * ran_s, 1)


def seconds_to_budget(job: FineTuneJob, current: RunningAttempt, now: datetime) -> float | None:
    """Return after how many seconds the budget of GPU seconds is used up; None where that does not come."""
    limit = job.spec.max_gpu_seconds
    if limit is None or not gpus_of(job):
        return None
    left = limit - gpu_seconds(job, current, now)
    if left > 0 and current.provisioned_time is None:
        return None
    return max(left, 0) / gpus_of(job)


def seconds_to_deadline(job: FineTuneJob, start: datetime | None, now: datetime) -> float | None:
    """Return after how many seconds the job's deadline is over; None without one. `start` is the attempt's."""
    limit = job.spec.active_deadline_seconds
    if limit is None:
        return None
    ran_s = max((now - start).total_seconds(), 0) if start else 0
    return max(limit - job.status.active_seconds - ran_s, 0)


def ended(job: FineTuneJob, current: RunningAttempt, reason: str, report: Report | None, end: datetime) -> Changes:
    """Return the changes of a status that remembers an attempt as ended."""
    end = max(end.replace(microsecond=0), current.start_time)
    attempt = Attempt(
        number=current.number,
        reason=reason,
        from_step=current.from_step,
        to_step=max(report.step if report else 0, current.from_step),
        start_time=current.start_time,
        end_time=end,
        gpu_seconds=_own(job, current, end),
        lost_seconds=0 if reason == "Succeeded" else _lost_s(job.status, current, report, end),
    )
    return {
        "attempts": [*job.status.attempts, attempt][-REMEMBERED:],
        "attempt": current.number,
        "current": None,
        "gpu_seconds": gpu_seconds(job, current, end),
        "active_seconds": round(job.status.active_seconds + (end - current.start_time).total_seconds(), 1),
    }


def _lost_s(status: FineTuneJobStatus, current: RunningAttempt, report: Report | None, end: datetime) -> float:
    """Return the seconds of an attempt that no checkpoint has."""
    saved = report.checkpoint if report is not None and report.checkpoint is not None else status.checkpoint
    since = current.start_time if saved is None else max(saved.time, current.start_time)
    return round(max((end - since).total_seconds(), 0), 1)
