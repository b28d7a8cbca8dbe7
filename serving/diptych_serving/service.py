"""What HTTP and gRPC have in common: who may ask, drawing, the clock. Knows neither protocol, nor Ray."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar

from diptych_serving.allowances import Allowance
from diptych_serving.degrade import Degraded
from diptych_serving.directory import COLD_RETRY_S, Directory
from diptych_serving.door import Door
from diptych_serving.image_request import Event, Failed, Finished, Image, ImageRequest, Progress, Timing
from diptych_serving.intake import work_units
from diptych_serving.rate_limit import Client, Refusal
from diptych_serving.records import DRAWN, Observer, log_record, record_of
from diptych_serving.refusals import Code, Refused, limited, refusal_of
from diptych_serving.speed import Speed

LIMITER_TIMEOUT_S: Final = 30.0
COUNT_TIMEOUT_S: Final = 5.0
CANCELLED: Final = Code.CANCELLED.reason
QUEUE_FULL: Final = "QueueFull"
QUEUE_RETRY_S: Final = 1.0
AT_ONCE: Final = 8
"""Pictures of one client that are drawn at a time, so that a large grid leaves room for others."""
_log = logging.getLogger(__name__)
Told = TypeVar("Told")
OnEvent = Callable[[int, Event], None]
"""Hears the number of the request and what happened to it."""


class Engines(Protocol):
    """The engine replicas."""

    def draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
        """Yield what happens to a request; whoever stops listening cancels it."""


class Limiter(Protocol):
    """The counts of all clients, shared by all gateways."""

    async def admit(self, client: Client, work: float) -> Refusal | None:
        """Count a request, or return why it is refused."""

    async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        """Count the work of a request that was let in."""

    async def allowances(self, client: Client) -> list[Allowance] | Refusal:
        """Return what is left of each limit, or why that is not known."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A request and its pictures."""

    request: ImageRequest
    images: tuple[Image, ...]
    timing: Timing
    degraded: Mapping[int, str] = field(default_factory=dict)


@dataclass
class Service:
    """Draws for clients, within their limits."""

    directory: Directory
    engines: Engines
    limiter: Limiter | None = None
    observers: Sequence[Observer] = (log_record,)
    """Hear of each request that was let in, when it ends."""
    speed: Speed = field(default_factory=Speed)
    door: Door = field(default_factory=Door)

    async def admit(self, requests: Sequence[ImageRequest], client: Client) -> "Admitted":
        """Count requests and return them as let in, to be drawn. Raises Refused for what is over a limit."""
        self.door.check()
        await self._admit(client, work_units(requests))
        return Admitted(self, requests, client)

    async def allowances(self, client: Client) -> list[Allowance]:
        """Return what is left of each limit that is set. Raises Refused when nobody can tell."""
        told = [] if self.limiter is None else await _told(self.limiter.allowances(client))
        if isinstance(told, Refusal):
            raise limited(told)
        return told

    async def _admit(self, client: Client, work: float) -> None:
        refusal = None if self.limiter is None else await _told(self.limiter.admit(client, work))
        if refusal is not None:
            raise limited(refusal)

    async def count(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        """Tell the limiter what was done; pictures that are there are not held back by one that is away."""
        if self.limiter is None:
            return
        try:
            async with asyncio.timeout(COUNT_TIMEOUT_S):
                await asyncio.shield(self.limiter.finished(client, seconds, succeeded=succeeded))
        except Exception:  # noqa: BLE001 -- as it says
            _log.exception("The limiter did not hear of a request.")


async def _told(answer: Coroutine[Any, Any, Told]) -> Told:
    """Return what the limiter answers. Raises Refused when it does not."""
    try:
        async with asyncio.timeout(LIMITER_TIMEOUT_S):
            return await answer
    except Exception as error:
        _log.warning("The limiter does not answer: %s", error)
        raise Refused(
            Code.UNAVAILABLE, "The limits cannot be looked up.", "Try again.", retry_after_s=COLD_RETRY_S
        ) from error


class Meter:
    """How much of a request was drawn: pictures that are finished, and those that were begun and given up."""

    def __init__(self) -> None:
        self._timings: dict[int, Timing] = {}
        self._begun: dict[int, float] = {}

    def hear(self, number: int, event: Event | Degraded) -> None:
        """Take in what happened to a picture."""
        if isinstance(event, Finished):
            self._timings[number] = event.timing
        elif isinstance(event, Progress):
            self._begun.setdefault(number, time.monotonic())

    @property
    def finished(self) -> Iterable[Timing]:
        """Return the timings of the pictures that are there."""
        return self._timings.values()

    @property
    def seconds(self) -> float:
        """Return the seconds of drawing until now; what nobody followed counts when it is finished."""
        now = time.monotonic()
        given_up = sum(now - begun for number, begun in self._begun.items() if number not in self._timings)
        return given_up + sum(timing.drawing_s for timing in self._timings.values())


@dataclass(frozen=True, slots=True)
class Admitted:
    """Requests that were let in and are to be drawn once."""

    service: Service
    requests: Sequence[ImageRequest]
    client: Client
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The reply's id."""
    started: float = field(default_factory=time.monotonic)

    async def draw(self, on_event: OnEvent | None = None) -> list[Drawn]:
        """Return the pictures of all requests, drawn together. Raises Refused; a failure of one ends all."""
        meter, ended = Meter(), CANCELLED
        try:
            with self.service.door.inside():
                drawn = await self._all(meter, on_event)
            ended = DRAWN
        except Refused as refused:
            ended = refused.reason
            raise
        finally:
            await self.service.count(self.client, meter.seconds, succeeded=ended in (DRAWN, CANCELLED))
            self._record(meter.finished, ended)
        return drawn

    def _record(self, timings: Iterable[Timing], ended: str) -> None:
        seconds = time.monotonic() - self.started
        record = record_of(self.name, self.client, self.requests, timings, ended, seconds)
        for observer in (self.service.speed.take, *self.service.observers):
            observer(record)

    async def _all(self, meter: Meter, on_event: OnEvent | None) -> list[Drawn]:
        limit_s = self.service.directory.limits.request_timeout_seconds
        free = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._draw_one(free, number, request, meter, on_event))
                    for number, request in enumerate(self.requests)
                ]
        except BaseExceptionGroup as group_error:
            raise refusal_of(group_error.exceptions[0]) from group_error
        except TimeoutError as error:
            raise refusal_of(error) from error
        return [task.result() for task in tasks]

    async def _draw_one(
        self, free: asyncio.Semaphore, number: int, request: ImageRequest, meter: Meter, on_event: OnEvent | None
    ) -> Drawn:
        """Return one picture. When the first one was let in, the others wait for room in the queue."""
        async with free:
            while True:
                try:
                    return await self._drawn(number, request, meter, on_event)
                except Refused as refused:
                    if number == 0 or refused.reason != QUEUE_FULL:
                        raise
                    await asyncio.sleep(refused.retry_after_s or QUEUE_RETRY_S)

    async def _drawn(self, number: int, request: ImageRequest, meter: Meter, on_event: OnEvent | None) -> Drawn:
        degraded: Mapping[int, str] = {}
        async for event in self.service.engines.draw(replace(request, is_followed=on_event is not None)):
            meter.hear(number, event)
            match event:
                case Degraded():
                    degraded = event.reasons
                case Failed():
                    raise event.error
                case Finished():
                    return Drawn(request, event.images, event.timing, degraded)
                case _ if on_event is not None:
                    on_event(number, event)
        raise Refused(Code.UNAVAILABLE, "The engine went away.", "Try again.", retry_after_s=1.0)
