"""What the parts of a job's plan work with: what is seen, the defaults and the moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from diptych_api.finetunejob import FineTuneJob
from diptych_api.jobstatus import FineTuneJobStatus, RunningAttempt
from diptych_api.names import CANCEL_ANNOTATION, RETRY_ANNOTATION
from diptych_api.report import Report
from diptych_operator.conditions import LONGEST_MESSAGE
from diptych_operator.defaults import Defaults
from diptych_operator.jobs.attempts import begun
from diptych_operator.jobs.ray_state import RayState
from diptych_operator.observed import JobSeen

OVER: Final = frozenset({"Succeeded", "Failed", "Cancelled"})


@dataclass(frozen=True, slots=True)
class Turn:
    """One look at a job."""

    seen: JobSeen
    defaults: Defaults
    now: datetime
    ray: RayState | None
    """The state of the job's RayJob; None when there is none."""

    @property
    def job(self) -> FineTuneJob:
        """Return the job."""
        return self.seen.job

    @property
    def status(self) -> FineTuneJobStatus:
        """Return the status as stored."""
        return self.seen.job.status

    @property
    def report(self) -> Report | None:
        """Return the newest report, of whichever attempt."""
        return self.seen.report.spec if self.seen.report else None

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for the end of the job."""
        return self.job.metadata.annotations.get(CANCEL_ANNOTATION) == "true"

    @property
    def is_over(self) -> bool:
        """Whether the job has come to its end and nobody asked for one more attempt."""
        asked = self.job.metadata.annotations.get(RETRY_ANNOTATION)
        again = self.status.phase == "Failed" and asked == str(self.status.attempt) and not self.is_cancelled
        return self.status.phase in OVER and not again

    @property
    def current(self) -> RunningAttempt | None:
        """Return the attempt that has not ended, as far as the status knows or the RayJob shows."""
        known = self.status.current
        if self.ray is not None and self.ray.attempt > self.status.attempt:
            return begun(self.status, self.ray.attempt, self.ray.created or self.now)
        return known

    def report_of(self, attempt: int) -> Report | None:
        """Return the newest report when it is of this attempt."""
        return self.report if self.report is not None and self.report.attempt == attempt else None

    @property
    def refused(self) -> str:
        """Return what the API server said to the last try of a child, when the status does not tell it yet."""
        told = {condition.type: condition for condition in self.status.conditions}.get("Provisioned")
        known = told is not None and told.reason == "Refused" and told.message == self.seen.refused[:LONGEST_MESSAGE]
        return "" if known else self.seen.refused
