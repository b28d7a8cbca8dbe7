"""From a report to the progress that people see."""

from typing import Any, Final

from diptych_api.finetunejob import FineTuneJob
from diptych_api.jobstatus import FineTuneJobStatus, JobColumns, JobPhase, Progress
from diptych_api.report import Report
from diptych_api.sources import Base
from diptych_operator.jobs.attempts import with_last_word

BEFORE_TRAINING: Final = frozenset({"Pending", "Preparing", "Captioning", "Caching"})
LONGEST_BASE: Final = 256
MINUTE, HOUR, DAY = 60, 3600, 86_400
FINE_MINUTES: Final = 10


def told(status: FineTuneJobStatus, report: Report | None) -> dict[str, Any]:
    """Return the fields of a status that a report fills. What a new attempt has not told yet stays as it was."""
    if report is None:
        return {}
    fields: dict[str, Any] = {
        "progress": _progress(status.progress or Progress(), report),
        "attempts": with_last_word(status, report),
    }
    newer = {
        "checkpoint": report.checkpoint,
        "samples": report.samples,
        "evaluation": report.metrics,
        "gate": report.gate,
        "published": report.published,
    }
    return fields | {name: value for name, value in newer.items() if value}


def columns(job: FineTuneJob, phase: JobPhase, progress: Progress | None) -> JobColumns:
    """Return the texts of `kubectl get`."""
    eta_s = progress.eta_seconds if progress and phase == "Running" else None
    return JobColumns(
        progress="100%" if phase == "Succeeded" else _share(progress or Progress(), running=phase == "Running"),
        eta="" if eta_s is None else duration(eta_s),
        base=base_name(job.spec.base)[:LONGEST_BASE],
    )


def _share(progress: Progress, *, running: bool) -> str:
    """Return how much of training is done or, while something else is done that counts items, how much of that."""
    activity = progress.activity
    if running and activity not in (None, "Training") and progress.total:
        return f"{activity} {min(100 * progress.done // progress.total, 100)}%"
    return f"{progress.percent}%"


def duration(seconds: float) -> str:
    """Return a time left for people, such as 41s or 2h10m."""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole}s"
    if whole < FINE_MINUTES * MINUTE:
        return f"{whole // MINUTE}m{whole % MINUTE:02}s"
    if whole < HOUR:
        return f"{whole // MINUTE}m"
    if whole < DAY:
        return f"{whole // HOUR}h{whole % HOUR // MINUTE:02}m"
    return f"{min(whole // DAY, 99_999)}d{whole % DAY // HOUR}h"


def base_name(base: Base) -> str:
    """Return what people call a base: its name, repository or place."""
    if base.hugging_face is not None:
        return base.hugging_face.repo
    return base.builtin or base.uri or (f"pvc:{base.pvc.claim_name}/{base.pvc.path}" if base.pvc else "")


def _progress(before: Progress, report: Report) -> Progress:
    if report.phase in BEFORE_TRAINING and report.step == 0:
        return before.model_copy(
            update={
                "activity": report.phase,
                "done": report.done,
                "total": report.total,
                "phases": report.phases,
                "eta_seconds": None,
                "last_updated_time": report.time,
            }
        )
    total = report.total_steps or before.total_steps
    return Progress(
        activity=report.phase,
        step=report.step,
        total_steps=total,
        done=report.done if report.phase != "Training" else 0,
        total=report.total if report.phase != "Training" else 0,
        percent=min(100 * report.step // total, 100) if total else 0,
        eta_seconds=report.eta_seconds,
        loss=_short(report.loss),
        val_loss=_short(report.val_loss),
        images_per_second=_short(report.images_per_second),
        phases=report.phases,
        parts=report.parts,
        bottleneck=report.bottleneck,
        peak_memory_bytes=report.peak_memory_bytes,
        peak_gpu_memory_bytes=report.peak_gpu_memory_bytes,
        last_updated_time=report.time,
    )


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
