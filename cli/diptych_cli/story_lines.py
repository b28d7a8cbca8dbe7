"""A story as lines for a log file: every phase, every message, and progress every few seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from diptych_api.report import Report
from diptych_cli import phrases
from diptych_cli.story import NAMES, Story

EVERY = timedelta(seconds=5)


@dataclass
class Lines:
    """Says what is new in a story; progress at most every few seconds of the reports' own time."""

    story: Story
    said: Report | None = None
    notes: int = 0

    def after(self, report: Report) -> Iterator[str]:
        """Yield the lines that a report is worth."""
        before, self.story = self.story, self.story.after(report)
        if not before.phases:
            yield before.headline
        for ended in self.story.done[len(before.done) :]:
            yield f"{phrases.phase_name(ended)} ✓ {phrases.phase_done(ended)}".rstrip()
        yield from self.story.notes[self.notes :]
        self.notes = len(self.story.notes)
        if report.phase == "Succeeded":
            yield f"✓ {' · '.join(filter(None, ('done', phrases.finished(report))))}"
        elif report.phase in NAMES and self._is_due(report):
            yield f"{phrases.phase_name(report)} {phrases.phase_going(report)}"
            self.said = report

    def _is_due(self, report: Report) -> bool:
        if report.phase != "Training" and not report.total:
            return False
        return self.said is None or self.said.phase != report.phase or report.time - self.said.time >= EVERY
