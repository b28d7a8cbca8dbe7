"""A job of a cluster as lines: what it waits for, what its program says, how each attempt ended, what to do next."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from diptych_api.jobstatus import Attempt, FineTuneJobStatus, JobFailure
from diptych_api.report import Report
from diptych_cli.cluster_job import OVER, ClusterJob
from diptych_cli.story import Story
from diptych_cli.story_lines import Lines


@dataclass
class JobLines:
    """Says what is new of a job and of its program's report."""

    name: str
    state: tuple[str, int, str] = ("", 0, "")
    """Phase, attempt and what the job waits for, as last told."""
    ended: int = 0
    """Number of the last attempt whose end was told."""
    said: Report | None = None
    lines: Lines = field(init=False)

    def __post_init__(self) -> None:
        """Set up the words for reports."""
        self.lines = Lines(Story(self.name))

    def after_job(self, job: ClusterJob) -> Iterator[str]:
        """Yield what is new of the job itself."""
        status = job.status
        for attempt in status.attempts:
            if attempt.number > self.ended:
                self.ended = attempt.number
                yield attempt_line(attempt)
        state = (status.phase, status.attempt, "" if status.phase in OVER else job.why)
        if state != self.state:
            self.state = state
            phase, attempt_number, why = state
            number = f" · attempt {attempt_number}" if attempt_number > 1 else ""
            yield f"{self.name} · {phase}{number}" + (f" · {why}" if why else "")

    def after_report(self, report: Report) -> Iterator[str]:
        """Yield what the program's report is worth; a new attempt begins its story anew."""
        if self.said is not None and report.attempt < self.said.attempt:
            return
        if self.said is None or report.attempt > self.said.attempt:
            self.lines = Lines(Story(f"attempt {report.attempt}"))
        if report != self.said:
            self.said = report
            yield from self.lines.after(report)


def attempt_line(attempt: Attempt) -> str:
    """Return one line on an attempt that ended."""
    steps = f"step {attempt.from_step} to {attempt.to_step}" if attempt.to_step else "no step"
    return f"attempt {attempt.number} ended: {attempt.reason or 'done'} · {steps}"


def closing(name: str, status: FineTuneJobStatus) -> Iterator[str]:
    """Yield how a job ended, and the next useful command."""
    if status.phase == "Failed" and status.last_failure is not None:
        yield from failure_lines(status.last_failure)
        yield f"next: diptych resume {name}   (one more attempt, from the last checkpoint)"
    elif status.phase == "Succeeded" and status.artifact is not None:
        yield f"artifact: {status.artifact.uri}"
        yield f"next: serve it by a DiffusionDeployment with adapters: [{{name: {name}, fromJob: {{name: {name}}}}}]"
    elif status.phase == "Suspended":
        yield f"next: diptych resume {name}"


def failure_lines(failure: JobFailure) -> Iterator[str]:
    """Yield why a job failed, where, and what to do."""
    where = f" ({failure.pod})" if failure.pod else ""
    yield f"failed: {failure.reason}: {failure.message}{where}".rstrip()
    if failure.hint:
        yield f"hint:   {failure.hint}"
