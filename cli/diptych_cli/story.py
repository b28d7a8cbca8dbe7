"""What a run has told so far, as a value that views draw."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from diptych_api.report import Phase, Report

NAMES: dict[Phase, str] = {
    "Preparing": "prepare",
    "Captioning": "caption",
    "Caching": "cache",
    "Training": "train",
    "Evaluating": "evaluate",
    "Gating": "gate",
    "Exporting": "export",
    "Publishing": "publish",
}
"""What people call the phases that do something, in their order."""


@dataclass(frozen=True, slots=True)
class Story:
    """The reports of one attempt, boiled down."""

    headline: str
    phases: tuple[tuple[Report, Report], ...] = ()
    """First and last report of each phase, in the order in which they came."""
    notes: tuple[str, ...] = ()
    """Every different message."""

    @classmethod
    def of(cls, headline: str, reports: Iterable[Report]) -> Self:
        """Return the story of a list of reports."""
        story = cls(headline)
        for report in reports:
            story = story.after(report)
        return story

    def after(self, report: Report) -> Self:
        """Return the story with one more report."""
        notes = self.notes if not report.message or report.message in self.notes else (*self.notes, report.message)
        if self.phases and self.phases[-1][1].phase == report.phase:
            return replace(self, phases=(*self.phases[:-1], (self.phases[-1][0], report)), notes=notes)
        return replace(self, phases=(*self.phases, (report, report)), notes=notes)

    @property
    def latest(self) -> Report | None:
        """The newest report."""
        return self.phases[-1][1] if self.phases else None

    @property
    def seconds(self) -> float | None:
        """Seconds from the first report to the last; None when there is no time between them."""
        if not self.phases:
            return None
        return (self.phases[-1][1].time - self.phases[0][0].time).total_seconds() or None

    @property
    def training_seconds(self) -> float | None:
        """Seconds from the first report of training to what followed; None when this attempt did not train."""
        for index, (first, last) in enumerate(self.phases):
            if first.phase == "Training":
                end = self.phases[index + 1][0] if index + 1 < len(self.phases) else last
                return (end.time - first.time).total_seconds()
        return None

    @property
    def current(self) -> Report | None:
        """The newest report of the phase that goes on, or that a failure or a wish to stop cut short."""
        if self.latest is None or self.latest.phase == "Succeeded":
            return None
        return next((last for first, last in reversed(self.phases) if first.phase in NAMES), None)

    @property
    def done(self) -> tuple[Report, ...]:
        """The last report of each phase that came to its end."""
        told = tuple(last for first, last in self.phases if first.phase in NAMES)
        return told if self.current is None else told[:-1]
