"""Four ways to tell a run's reports: live view, plain lines, JSON lines, nothing."""

import os
import sys
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from diptych_api.report import Report
from diptych_cli.story import Story
from diptych_cli.story_lines import Lines
from diptych_cli.story_view import STOPPING, render

SHOW_CURSOR = b"\x1b[?25h\n"


class Teller(Protocol):
    """Hears every report of a run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def tell(self, report: Report) -> None:
        """Take a report."""

    def stopping(self) -> None:
        """Say that the run was asked to stop; called inside a signal handler."""

    def abort(self) -> None:
        """Leave the terminal as it was; called inside a signal handler."""


@dataclass
class Silent:
    """Tells nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def tell(self, report: Report) -> None:
        """Take a report."""

    def stopping(self) -> None:
        """Say that the run was asked to stop. Written without Python's buffers, which a handler must not enter."""
        os.write(sys.stderr.fileno(), f"{STOPPING}\n".encode())

    def abort(self) -> None:
        """Leave the terminal as it was."""


@dataclass
class JsonLines(Silent):
    """Writes each report as one line of JSON on stdout."""

    def tell(self, report: Report) -> None:
        """Write a report."""
        typer.echo(report.model_dump_json(by_alias=True, exclude_none=True))


@dataclass
class PlainLines(Silent):
    """Writes lines for people where there is no terminal."""

    lines: Lines

    def tell(self, report: Report) -> None:
        """Write what is new."""
        for line in self.lines.after(report):
            typer.echo(line)


@dataclass
class LiveView(Silent):
    """Redraws the view of the run in place, four times a second."""

    story: Story
    console: Console
    asked: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Set up the view; it draws from its own thread, so the story is a value that is only ever replaced."""
        self.live = Live(console=self.console, get_renderable=self._draw, refresh_per_second=4)

    def __enter__(self) -> Self:
        self.live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.asked.clear()
        self.live.__exit__(kind, error, trace)

    def tell(self, report: Report) -> None:
        """Take a report; the next redraw shows it."""
        self.story = self.story.after(report)

    def stopping(self) -> None:
        """Show that the run was asked to stop."""
        self.asked.set()

    def abort(self) -> None:
        """Show the cursor again."""
        os.write(sys.stdout.fileno(), SHOW_CURSOR)

    def _draw(self) -> RenderableType:
        return render(self.story, stopping=self.asked.is_set())
