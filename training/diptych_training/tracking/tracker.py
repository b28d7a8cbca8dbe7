"""Tells MLflow of a run from a thread of its own: training never waits for it and never ends because of it."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from diptych_api.after import Tracking
from diptych_api.errors import DiptychError
from diptych_api.report import Report
from diptych_training.run_store import RunStore
from diptych_training.tracking.delivery import Delivery
from diptych_training.tracking.place import TrackingAwayError, place_of

LOCAL_EVERY_S, REMOTE_EVERY_S = 2.0, 30.0
LONGEST_PAUSE_S: Final = 60.0


@dataclass
class Tracker:
    """Brings a place up to date every few seconds; what it misses while it is away waits in the run store.

    Leaving the body brings the last report, for which it waits a bounded time.
    """

    delivery: Delivery
    every_s: float = LOCAL_EVERY_S
    first_pause_s: float = 1.0
    """Pause after a failure; it doubles with each further one."""
    patience_s: float = 15.0
    """Longest wait for the last report."""
    newest: Report | None = None
    is_told: bool = True
    """Whether the newest report was brought."""
    pause_s: float = 0.0
    """Of failures so far; 0 while what is sent arrives."""
    closing: bool = False
    asides: deque[str] = field(default_factory=deque)
    """What people should hear and have not heard yet."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        """Set up the thread. It is a daemon, so that a server that hangs keeps no process alive."""
        self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.changed:
            self.closing = True
            self.pause_s = min(self.pause_s, self.first_pause_s)
            self.changed.notify()
        self.thread.join(self.patience_s)

    def tell(self, report: Report) -> None:
        """Take a report, of which the place hears in time. Returns at once."""
        with self.changed:
            self.newest, self.is_told = report, False
            self.changed.notify()

    def aside(self) -> str:
        """Return something that people should hear, once."""
        return self.asides.popleft() if self.asides else ""

    def leave(self) -> None:
        """Tell nothing more: another process has the run."""
        with self.changed:
            self.newest, self.is_told, self.closing = None, True, True
            self.changed.notify()

    def _work(self) -> None:
        with closing(self.delivery.place):
            while (report := self._next()) is not None:
                self._bring(report)

    def _bring(self, report: Report) -> None:
        try:
            self.delivery.bring(report)
        except (TrackingAwayError, DiptychError) as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on and the reason is told
            self._failed(f"{type(error).__name__}: {error}")
        else:
            self._arrived(report)

    def _next(self) -> Report | None:
        """Wait for a report that is due and return it; None when there is nothing left to tell."""
        began = time.monotonic()
        with self.changed:
            while True:
                pause_s = self.pause_s or (0 if self.closing else self.every_s)
                left = began + pause_s - time.monotonic()
                if self.newest is not None and not self.is_told and left <= 0:
                    return self.newest
                if self.closing and self.is_told:
                    return None
                self.changed.wait(None if self.is_told else max(left, 0.0))

    def _arrived(self, report: Report) -> None:
        with self.changed:
            if self.pause_s:
                self.asides.append("MLflow hears of the run again.")
            self.pause_s = 0.0
            self.is_told = self.newest is report

    def _failed(self, reason: str) -> None:
        with self.changed:
            if not self.pause_s:
                self.asides.append(f"MLflow does not hear of the run, which goes on; it is told later. {reason}")
            doubled = min(2 * self.pause_s, LONGEST_PAUSE_S) or self.first_pause_s
            self.pause_s = self.first_pause_s if self.closing else doubled


@contextmanager
def tracked(
    tracking: Tracking | None, store: RunStore, on_report: Callable[[Report], None]
) -> Iterator[Tracker | None]:
    """Give what tells the place that a job names, if it names one; ``on_report`` hears what did not arrive at the end.

    Raises:
        UnsupportedHere: when the environment lacks the job's token.

    """
    if tracking is None:
        yield None
        return
    delivery = Delivery(store, tracking, place_of(tracking, os.environ))
    with Tracker(delivery, every_s=LOCAL_EVERY_S if store.is_local else REMOTE_EVERY_S) as tracker:
        yield tracker
    if not tracker.is_told and tracker.newest is not None:
        late = f"MLflow was not told of all: {tracker.aside() or 'it is slow'} Later: diptych track {store.uri()}"
        on_report(tracker.newest.model_copy(update={"message": late[:1024]}))
