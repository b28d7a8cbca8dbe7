"""The driver's view of a run: letters come in, reports go to the caller and into the run store."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from diptych_api.errors import DiptychError
from diptych_api.report import CheckpointRef, Failure, Phase, Report
from diptych_api.runstore import LOG_FILE, METRICS_FILE, STATUS_FILE, checkpoint_name
from diptych_training.clock import Clock
from diptych_training.letters import Letter, PhaseProgress, Progress, Row
from diptych_training.run_store import RunStore
from diptych_training.sample_files import newest_samples
from diptych_training.timings import bottleneck, spent
from diptych_training.tracking.tracker import Tracker

STATUS_EVERY_S = 1.0
REMOTE_EVERY_S = 5.0
"""In an object store, where a line more means that its file is put anew."""
NEWEST_LINES = 10_000


def _row_key(row: Row) -> tuple[int, bool]:
    return row.step, row.val_loss is None


def _told(report: Report) -> tuple[object, ...]:
    """Return what a line of log.jsonl is written for when it changes."""
    return report.phase, report.attempt, report.message, report.failure


def now() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def failure_of(error: BaseException, step: int | None = None) -> Failure:
    """Return what people are told of an error."""
    if isinstance(error, DiptychError):
        reason, message, hint = error.reason, error.message, error.hint
    else:
        reason, message = "InternalError", f"{type(error).__name__}: {error}"
        hint = "This is a bug: please report it with the log of the run."
    return Failure(reason=reason, message=message[:2048], hint=hint[:1024], step=step)


@dataclass
class Reporter:
    """Keeps the newest report. Every change goes to the caller; the store is written at most once a second.

    log.jsonl gets a line for the begin and the end of each phase, for each attempt, message and failure.
    """

    on_report: Callable[[Report], None]
    store: RunStore | None = None
    report: Report = field(default_factory=lambda: Report(phase="Pending", time=now()))
    written: float = 0.0
    logged: Report | None = None
    clock: Clock = field(default_factory=Clock)
    known: set[tuple[int, bool]] | None = None
    """Rows of metrics.jsonl that are told, by step and kind."""
    waiting: list[str] = field(default_factory=list)
    """Lines of metrics.jsonl that are not written yet."""
    tracker: Tracker | None = None
    """Hears of every report once the store has it."""
    sample_step: int | None = -1
    """Step of the newest pictures that were looked for; -1 before the first look."""

    def update(self, *, force: bool = True, **changes: Any) -> None:  # noqa: ANN401 -- fields of Report
        """Change fields of the report and tell it."""
        if self.tracker is not None and (aside := self.tracker.aside()):
            changes = {"message": aside[:1024]} | changes
        before = self.report
        self.clock.passed(before.phase)
        times: dict[str, Any] = {"active_seconds": self.clock.active_seconds, "gpu_seconds": self.clock.gpu_seconds}
        times |= {"phases": spent(self.clock.phases), "time": now()}
        self.report = before.model_copy(update={**changes, **times})
        self.on_report(self.report)
        if (store := self.store) is None:
            return
        if _told(before) != _told(self.report):
            self._log(store, before)
        every_s = STATUS_EVERY_S if store.is_local else REMOTE_EVERY_S
        if force or time.monotonic() - self.written > every_s:
            self._write_waiting(store)
            store.write_json(STATUS_FILE, self.report)
            self.written = time.monotonic()
        if self.tracker is not None:
            self.tracker.tell(self.report)

    def _log(self, store: RunStore, before: Report) -> None:
        """Append the newest report to log.jsonl, after the last one of the phase that it ends."""
        ended = [] if before.phase in (self.report.phase, "Pending") or before is self.logged else [before]
        lines = [report.model_dump_json(by_alias=True, exclude_none=True) for report in (*ended, self.report)]
        store.append(LOG_FILE, *lines)
        self.logged = self.report

    def phase(self, phase: Phase, message: str = "") -> None:
        """Begin a phase."""
        self.update(phase=phase, done=0, total=0, message=message)

    def on_progress(self, done: int, total: int) -> None:
        """Take the progress of a phase that counts items."""
        self.update(force=done == total, done=done, total=total)

    def on_letter(self, letter: Letter) -> None:
        """Take a letter of a worker."""
        if isinstance(letter, Progress):
            self._training(letter)
        elif isinstance(letter, PhaseProgress):
            self.update(force=False, phase=letter.phase, done=letter.done, total=letter.total)

    def _training(self, progress: Progress) -> None:
        losses = [row.loss for row in progress.rows if row.loss is not None]
        rates = [row.learning_rate for row in progress.rows if row.learning_rate is not None]
        changes: dict[str, Any] = {
            "phase": "Training",
            "step": progress.step,
            "total_steps": progress.total_steps,
            "epoch": progress.epoch,
            "val_loss": progress.standing.last,
            "first_val_loss": progress.standing.first,
            "best_val_loss": progress.standing.best,
            "images_per_second": progress.images_per_second,
            "eta_seconds": progress.eta_seconds,
            "parts": spent(progress.parts),
            "bottleneck": bottleneck(progress.parts),
            "peak_memory_bytes": progress.peak_memory_bytes,
            "peak_gpu_memory_bytes": progress.peak_gpu_memory_bytes,
        }
        if losses:
            changes |= {"loss": sum(losses) / len(losses), "learning_rate": rates[-1]}
        if self.store is not None:
            self._write_rows(self.store, progress.rows)
            if progress.checkpoint_step is not None:
                changes["checkpoint"] = self._checkpoint(progress.checkpoint_step)
            if progress.sample_step != self.sample_step:
                changes["samples"] = newest_samples(self.store)
                self.sample_step = progress.sample_step
        if progress.remark:
            changes["message"] = progress.remark
        self.update(force=False, **changes)

    def _write_rows(self, store: RunStore, rows: Sequence[Row]) -> None:
        """Add the rows that are not there yet: a worker that goes on from a checkpoint tells some again."""
        if self.known is None:
            written = [Row(**json.loads(line)) for line in store.read_lines(METRICS_FILE)[-NEWEST_LINES:]]
            self.known = {_row_key(row) for row in written}
        fresh = [row for row in rows if _row_key(row) not in self.known]
        self.known.update(map(_row_key, fresh))
        self.waiting += [json.dumps({k: v for k, v in asdict(row).items() if v is not None}) for row in fresh]
        if store.is_local:
            self._write_waiting(store)

    def _write_waiting(self, store: RunStore) -> None:
        if self.waiting:
            store.append(METRICS_FILE, *self.waiting)
            self.waiting.clear()

    def _checkpoint(self, step: int) -> CheckpointRef | None:
        known = self.report.checkpoint
        if known is not None and known.step == step:
            return known
        uri = self.store.uri("checkpoints", checkpoint_name(step)) if self.store else ""
        return CheckpointRef(step=step, uri=uri, time=now())

    def failed(self, error: BaseException) -> None:
        """Say why the run ended; a bug shows its type."""
        self.update(phase="Failed", failure=failure_of(error, self.report.step or None))
