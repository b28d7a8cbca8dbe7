"""What was drawn for whom: one record for each request of any protocol, for the log and for metrics."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from diptych_serving.image_request import ImageRequest, Timing
from diptych_serving.rate_limit import Client

BASE = "base"
DRAWN = "Drawn"
_log = logging.getLogger("ray.serve.diptych")
"""Below Ray Serve's own logger, so that it goes to the same file, in the same encoding, from the same level up."""


@dataclass(frozen=True, slots=True)
class Record:
    """How a request ended. Prompts are not in it: they belong to those who wrote them."""

    request: str
    """The reply's id."""
    outcome: str
    """Drawn, or the reason of the refusal."""
    seconds: float
    """From being let in to the pictures."""
    ip: str
    key: str | None
    sides: tuple[str, ...]
    pictures: int
    rows: int
    steps: int
    work_units: float
    queue_s: float
    denoise_s: float


Observer = Callable[[Record], None]


def record_of(
    name: str, client: Client, requests: Sequence[ImageRequest], timings: Iterable[Timing], outcome: str, seconds: float
) -> Record:
    """Return the record; there are no timings of what failed."""
    known = list(timings)
    sides = dict.fromkeys(arm.adapter or BASE for request in requests for arm in request.arms)
    return Record(
        request=name,
        outcome=outcome,
        seconds=round(seconds, 4),
        ip=client.ip,
        key=client.key,
        sides=tuple(sides),
        pictures=sum(len(request.arms) for request in requests),
        rows=sum(request.rows for request in requests),
        steps=requests[0].settings.steps,
        work_units=round(sum(request.work_units for request in requests), 4),
        queue_s=round(max((timing.queue_s for timing in known), default=0.0), 4),
        denoise_s=round(max((timing.denoise_s for timing in known), default=0.0), 4),
    )


def log_record(record: Record) -> None:
    """Write one line, with every field of the record where the log is JSON."""
    what = f"{record.pictures} pictures ({', '.join(record.sides)}), {record.steps} steps"
    _log.info(
        "%s: %s in %.2f s, request %s", record.outcome, what, record.seconds, record.request, extra=asdict(record)
    )
