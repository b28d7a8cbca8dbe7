"""Requests on their way through the engine: who waits, who draws, who joins next. No tensor is touched here."""

import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from diptych_diffusion.drawings import Drawing
from diptych_diffusion.held import Held
from diptych_serving.image_request import Event, ImageRequest, OnEvent

Size = tuple[int, int]
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Task:
    """A request that was taken in, and how far it is."""

    request: ImageRequest
    slots: tuple[Held | None, ...]
    """The adapter of each arm, kept alive until the pictures are done."""
    on_event: OnEvent
    drawings: list[Drawing] = field(default_factory=list)
    cancelled: bool = False
    queue_timeout_s: float = math.inf
    submitted: float = field(default_factory=time.monotonic)
    admitted: float = 0.0
    begun: float = 0.0

    def cancel(self) -> None:
        """Give the rows back at the next step; nothing more is told. May be called from any thread."""
        self.cancelled = True

    def tell(self, event: Event) -> None:
        """Tell an event to whoever asked, unless they went away; one who cannot listen is let go of."""
        if self.cancelled:
            return
        try:
            self.on_event(event)
        except Exception:  # noqa: BLE001 -- a listener is not ours
            _log.exception("A listener failed; its request is cancelled.")
            self.cancel()

    @property
    def size(self) -> Size:
        """Height and width in pixels: rows of one size go through the UNet together."""
        return self.request.settings.height, self.request.settings.width


class Floor:
    """First come, first served, as far as rows are free; everybody who was let in moves at every step.

    Nobody is overtaken, so nobody starves; a request of few steps still leaves early, because all move together. A
    request with more rows than there are is let in alone.
    """

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.waiting: deque[Task] = deque()
        self.drawing: list[Task] = []

    @property
    def rows(self) -> int:
        """Rows that are taken."""
        return sum(task.request.rows for task in self.drawing)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.drawing

    def sweep(self) -> None:
        """Let go of what was cancelled."""
        self.waiting = deque(task for task in self.waiting if not task.cancelled)
        self.drawing = [task for task in self.drawing if not task.cancelled]

    def overdue(self, now: float) -> Iterator[Task]:
        """Let go of the tasks that have waited too long, and yield them."""
        late = [task for task in self.waiting if now - task.submitted >= task.queue_timeout_s]
        for task in late:
            self.waiting.remove(task)
            yield task

    def admit(self) -> Iterator[Task]:
        """Yield the tasks that may join now, in the order in which they came."""
        while self.waiting and (not self.drawing or self.rows + self.waiting[0].request.rows <= self.max_rows):
            task = self.waiting.popleft()
            self.drawing.append(task)
            yield task

    def groups(self) -> Iterator[tuple[list[Task], list[Drawing]]]:
        """Yield the drawings that go through the UNet together, and whose they are: one size, ``max_rows`` rows.

        Those with a UNet of their own come last, one UNet after the other.
        """
        sizes: dict[Size, list[Task]] = {}
        for task in self.drawing:
            sizes.setdefault(task.size, []).append(task)
        for tasks in sizes.values():
            drawings = [drawing for task in tasks for drawing in task.drawings]
            for piece in self._pieces(sorted(drawings, key=_unet)):
                here = {id(drawing) for drawing in piece}
                yield [task for task in tasks if any(id(drawing) in here for drawing in task.drawings)], piece

    def _pieces(self, drawings: list[Drawing]) -> Iterator[list[Drawing]]:
        piece: list[Drawing] = []
        for drawing in drawings:
            if piece and sum(d.settings.rows for d in piece) + drawing.settings.rows > self.max_rows:
                yield piece
                piece = []
            piece.append(drawing)
        yield piece

    def leave(self, task: Task) -> None:
        """Give back the rows of a task."""
        self.drawing = [other for other in self.drawing if other is not task]


def _unet(drawing: Drawing) -> int:
    return 0 if drawing.own_unet is None else id(drawing.own_unet)
