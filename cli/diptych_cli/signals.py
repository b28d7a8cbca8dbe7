"""Asking a run to stop: the first Ctrl-C or SIGTERM asks, a second Ctrl-C does not wait."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Self

from diptych_api.errors import Interrupted

ABORTED = 130


@dataclass
class StopSignals:
    """Turns signals into a set event while the body runs. Only for the main thread."""

    on_ask: Callable[[], None]
    """Called once, inside the signal handler: it may only do what is safe there."""
    on_abort: Callable[[], None]
    """Called before the process ends at once."""
    stop: threading.Event = field(default_factory=threading.Event)
    before: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Take the signals. Called again with every report, because Ray takes SIGTERM for itself when it starts."""
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def pause(self, seconds: float) -> None:
        """Wait. Raises Interrupted as soon as a stop was asked for."""
        self.install()
        if self.stop.wait(seconds):
            raise Interrupted("Stopped.")

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self.stop.is_set():
            self.stop.set()
            self.on_ask()
        elif number == signal.SIGINT:
            self.on_abort()
            # As hard as kill -9, which resume is made for: an orderly exit could wait for workers that hang.
            os._exit(ABORTED)
