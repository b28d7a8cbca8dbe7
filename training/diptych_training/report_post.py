"""Sends reports from a thread of its own: training never waits for them and never ends because of them."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from diptych_api.report import Report

LONGEST_PAUSE_S = 30.0


@dataclass
class ReportPost:
    """Sends the newest report: at once when the phase changes, else every few seconds; failures are tried again.

    Leaving the body sends the last report, for which it waits a bounded time.
    """

    send: Callable[[Report], None]
    complain: Callable[[str], None]
    every_s: float = 5.0
    first_pause_s: float = 1.0
    """Pause after a failure; it doubles with each further one."""
    patience_s: float = 20.0
    """Longest wait for the last report."""
    newest: Report | None = None
    """What was not sent yet."""
    phase: str = ""
    """Of the report that was told last."""
    due: float = 0.0
    pause_s: float = 0.0
    """Of failures so far; 0 while reports arrive."""
    closing: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        """Set up the thread. It is a daemon, so that a server that hangs keeps no process alive."""
        self.thread = threading.Thread(target=self._work, name="reports", daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.changed:
            self.closing = True
            self.due = 0.0
            self.changed.notify()
        self.thread.join(self.patience_s)
        if self.newest is not None:
            self.complain(f"The last report ({self.newest.phase}) did not arrive within {self.patience_s:g} s.")

    def tell(self, report: Report) -> None:
        """Take a report, and send it in time. Returns at once."""
        with self.changed:
            if report.phase != self.phase and not self.pause_s:
                self.due = 0.0
            self.newest, self.phase = report, report.phase
            self.changed.notify()

    def _work(self) -> None:
        while (report := self._next()) is not None:
            try:
                self.send(report)
            except Exception as error:  # noqa: BLE001 - whatever it is, training goes on and the reason is told
                self._failed(str(error) or type(error).__name__)
            else:
                self._arrived(report)

    def _next(self) -> Report | None:
        """Wait for a report that is due and return it; None when there is nothing left to send."""
        with self.changed:
            while True:
                left = self.due - time.monotonic()
                if self.newest is not None and left <= 0:
                    return self.newest
                if self.newest is None and self.closing:
                    return None
                self.changed.wait(left if self.newest is not None else None)

    def _arrived(self, report: Report) -> None:
        with self.changed:
            if self.pause_s:
                self.complain("Reports arrive again.")
            self.pause_s = 0.0
            same_phase = report.phase == self.phase
            self.due = time.monotonic() + self.every_s if same_phase and not self.closing else 0.0
            if self.newest is report:
                self.newest = None

    def _failed(self, reason: str) -> None:
        with self.changed:
            if not self.pause_s:
                self.complain(f"A report did not arrive; it is tried again, and training goes on. {reason}")
            doubled = min(2 * self.pause_s, LONGEST_PAUSE_S) or self.first_pause_s
            self.pause_s = self.first_pause_s if self.closing else doubled
            self.due = time.monotonic() + self.pause_s
