"""Who may draw together: ours, and what other servers do, as admission rules for the same engine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from diptych_serving.image_request import ImageRequest
from diptych_serving.tasks import Floor, Task


class OneAtATime(Floor):
    """Lets the next one in when the last one has left."""

    def admit(self) -> Iterator[Task]:
        """Yield at most one task."""
        if self.waiting and not self.drawing:
            yield self.seat(self.waiting[0])

    def seat(self, task: Task) -> Task:
        """Move a task from those that wait to those that draw."""
        self.waiting.remove(task)
        self.drawing.append(task)
        return task


class SameAdapter(OneAtATime):
    """Batches what has the same adapter and strength, step by step; nobody is overtaken."""

    def admit(self) -> Iterator[Task]:
        """Yield the first of the queue as long as it fits."""
        while self.waiting and self.fits(self.waiting[0]):
            yield self.seat(self.waiting[0])

    def fits(self, task: Task) -> bool:
        """Whether a task may join those that draw."""
        if not self.drawing:
            return True
        is_same = task.request.arms == self.drawing[0].request.arms
        return is_same and self.rows + task.request.rows <= self.max_rows


class SameAdapterReordered(SameAdapter):
    """The same, but whoever fits overtakes those that do not: more throughput, and some may wait for ever."""

    def admit(self) -> Iterator[Task]:
        """Yield whoever fits."""
        for task in list(self.waiting):
            if self.rows >= self.max_rows:
                return
            if self.fits(task):
                yield self.seat(task)


@dataclass(frozen=True, slots=True)
class Policy:
    """A server's way with requests."""

    name: str
    floor: Callable[[int], Floor]
    """Made with the most rows of a forward."""
    splits: bool
    """Whether a comparison is drawn as one request for each side, because sides cannot share a forward."""

    def parts(self, request: ImageRequest) -> Sequence[ImageRequest]:
        """Return what is drawn for a request."""
        return [replace(request, arms=(arm,)) for arm in request.arms] if self.splits else [request]


OURS: Final = Policy("mixed rows (Diptych)", Floor, splits=False)
SERIAL: Final = Policy("one picture at a time", OneAtATime, splits=True)
FIFO: Final = Policy("same adapter, first come first served", SameAdapter, splits=True)
POLICIES: Final = (
    SERIAL,
    Policy("one request at a time", OneAtATime, splits=False),
    FIFO,
    Policy("same adapter, reordered", SameAdapterReordered, splits=True),
    OURS,
)
