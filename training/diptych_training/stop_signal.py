"""The wish to stop, as a signal: SIGTERM from Ray's job server or a preStop hook, Ctrl-C from a shell."""

import signal
import threading
from dataclasses import dataclass, field
from types import FrameType


@dataclass(frozen=True, slots=True)
class StopSignal:
    """Sets an event when the process is asked to end. Only for the main thread."""

    event: threading.Event = field(default_factory=threading.Event)

    def install(self) -> None:
        """Take the signals. Called again with every report, because Ray takes SIGTERM for itself when it starts."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.event.set()
