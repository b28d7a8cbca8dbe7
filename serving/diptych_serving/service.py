"""What HTTP and gRPC have in common: who may ask, drawing, the clock. Knows neither protocol, nor Ray."""

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from diptych_api.limits import Limits
from diptych_api.servingconfig import RegistryConfig
from diptych_serving.degrade import Degraded
from diptych_serving.identity import PAGE_HEADER, client_of
from diptych_serving.image_request import Event, Failed, Finished, Image, ImageRequest, Progress, Timing
from diptych_serving.intake import Intake, work_units
from diptych_serving.keys import Keys, Scope, read_keys
from diptych_serving.rate_limit import Client, Refusal
from diptych_serving.records import DRAWN, Observer, log_record, record_of
from diptych_serving.refusals import Code, Refused, limited, refusal_of
from diptych_serving.replica_facts import AdapterFacts, BaseFacts, ReplicaFacts, worst
from diptych_serving.speed import Speed

COLD_RETRY_S: Final = 5.0
IDLE_RETRY_S: Final = 60.0
NO_ENGINES: Final = "The deployment has no engine replicas: spec.replicas is 0."
LIMITER_TIMEOUT_S: Final = 30.0
COUNT_TIMEOUT_S: Final = 5.0
CANCELLED: Final = Code.CANCELLED.reason
QUEUE_FULL: Final = "QueueFull"
QUEUE_RETRY_S: Final = 1.0
AT_ONCE: Final = 8
"""Pictures of one client that are drawn at a time, so that a large grid leaves room for others."""
_log = logging.getLogger(__name__)
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


@dataclass
class Directory:
    """The newest configuration, and the engine replicas, as far as they are known here."""

    name: str
    config: RegistryConfig | None = None
    keys: Keys | None = None
    """None where anybody may ask."""
    replicas: Sequence[ReplicaFacts] = ()
    last_base: BaseFacts | None = None
    compares: bool = True
    """Whether base and adapters may be asked for side by side."""
    notes: Sequence[str] = ()
    """What the registry knows to be wrong."""
    page_ticket: str = field(default_factory=secrets.token_hex)
    """Who shows it is the page of this gateway, and is believed for whom it asks."""

    @property
    def limits(self) -> Limits:
        """The bounds of one request."""
        return Limits() if self.config is None else self.config.limits

    @property
    def has_engines(self) -> bool:
        """Whether there are to be engine replicas at all."""
        return self.config is None or self.config.replicas != 0

    def configure(self, config: RegistryConfig, environment: Mapping[str, str]) -> None:
        """Take in a configuration; ``environment`` holds the API keys."""
        self.config, self.keys = config, read_keys(config.auth, environment)

    def update(self, replicas: Sequence[ReplicaFacts]) -> None:
        """Take in what the registry knows; the base is remembered while no replica runs."""
        self.replicas = replicas
        if replicas:
            self.last_base = replicas[0].base

    def intake(self) -> Intake:
        """Return the reader of requests. Raises Refused while nothing is loaded."""
        if self.config is None or self.last_base is None:
            raise self._not_loaded()
        return Intake(self.config, self.last_base)

    def problems(self) -> list[str]:
        """Return what somebody should know who looks after the deployment."""
        return list(self.notes) if self.has_engines else [NO_ENGINES, *self.notes]

    def _not_loaded(self) -> Refused:
        if not self.has_engines:
            return Refused(Code.UNAVAILABLE, NO_ENGINES, reason="NoReplicas", retry_after_s=IDLE_RETRY_S)
        message = " ".join(["The base is not loaded yet.", *self.notes])
        hint = "Try again; /ready tells how far it is."
        return Refused(Code.UNAVAILABLE, message, hint, reason="Loading", retry_after_s=COLD_RETRY_S)

    def adapters(self) -> list[AdapterFacts]:
        """Return how each wanted adapter is on the replica that is worst off."""
        wanted = () if self.config is None else self.config.adapters
        return [worst(adapter.name, self.replicas) for adapter in wanted]

    @property
    def is_ready(self) -> bool:
        """Whether a base is loaded, and each wanted adapter that has files is loaded or has finally failed."""
        wanted = () if self.config is None else self.config.adapters
        with_files = {adapter.name for adapter in wanted if adapter.uri is not None}
        unsettled = [facts for facts in self.adapters() if facts.name in with_files and not facts.is_settled]
        return self.config is not None and self.last_base is not None and not (self.replicas and unsettled)

    def client(self, peer: str, headers: Mapping[str, str], scope: Scope | None, session: str | None = None) -> Client:
        """Return who asks. Raises Refused for one who may not; header names are in lower case.

        Without a scope any key will do.
        """
        key = None if self.keys is None else self.keys.owner(headers.get("authorization", ""), scope)
        trusted = [] if self.config is None else self.config.trusted_proxies
        if secrets.compare_digest(headers.get(PAGE_HEADER, "").encode(), self.page_ticket.encode()):
            trusted = [*trusted, peer]
        return replace(client_of(peer, headers, trusted, session), key=key)


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

    async def admit(self, requests: Sequence[ImageRequest], client: Client) -> "Admitted":
        """Count requests and return them as let in, to be drawn. Raises Refused for what is over a limit."""
        await self._admit(client, work_units(requests))
        return Admitted(self, requests, client)

    async def _admit(self, client: Client, work: float) -> None:
        if self.limiter is None:
            return
        try:
            async with asyncio.timeout(LIMITER_TIMEOUT_S):
                refusal = await self.limiter.admit(client, work)
        except Exception as error:
            _log.warning("The limiter does not answer: %s", error)
            raise Refused(
                Code.UNAVAILABLE, "The limits cannot be looked up.", "Try again.", retry_after_s=COLD_RETRY_S
            ) from error
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
