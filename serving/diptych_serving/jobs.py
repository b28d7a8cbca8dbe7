"""Work that outlives its request: clients start a job, look at it, watch it, cancel it. Knows no Ray.

A request with an idempotency key is a job too: whoever repeats it gets the same pictures, drawn once.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from diptych_serving.answers import AnyBody, AnyReply, read
from diptych_serving.bodies import CompareBody, GenerateBody, GridBody, JobReply, JobState
from diptych_serving.http_errors import problem
from diptych_serving.rate_limit import Client
from diptych_serving.refusals import Code, Refused
from diptych_serving.service import Admitted, Service
from diptych_serving.streams import with_previews
from diptych_serving.updates import Update, failure, updates

KEPT_S: Final = 24 * 3600.0
MOST_JOBS: Final = 1000
MOST_UNFINISHED: Final = 256
MOST_BYTES: Final = 256 << 20
RETRY_S: Final = 5.0
FORGIVEN: Final = (Code.LIMITED, Code.UNAVAILABLE, Code.TIMED_OUT, Code.INTERNAL)
"""Failures that a repeated request may try again."""


class Jobs(Protocol):
    """All jobs of a deployment. Every method raises Refused."""

    async def start(self, body: AnyBody, client: Client, preview_every: int = 0, key: str | None = None) -> JobReply:
        """Start a job, or return the one that the client started under this idempotency key."""

    async def look(self, name: str, client: Client) -> JobReply:
        """Return a job as it is now."""

    async def cancel(self, name: str, client: Client) -> JobReply:
        """Give a job's rows back at the next step; one that has ended stays as it is."""

    def watch(self, name: str, client: Client) -> AsyncIterator[Update]:
        """Yield how far a job is and what happens to it, to its end."""


@dataclass(eq=False)
class Job:
    """One job and who listens to it."""

    owner: str | None
    total: int
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    born: float = field(default_factory=time.monotonic)
    steps: dict[int, int] = field(default_factory=dict)
    latest: dict[int, Update] = field(default_factory=dict)
    """The last progress of each picture, for those who begin to listen."""
    last: Update | None = None
    finished: datetime | None = None
    listeners: set[asyncio.Queue[Update]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    @property
    def state(self) -> JobState:
        """Return how the job is."""
        match self.last:
            case None:
                return "Running" if self.steps else "Queued"
            case Update("done"):
                return "Succeeded"
            case Update("error"):
                return "Failed"
        return "Cancelled"

    @property
    def size(self) -> int:
        """Return the bytes of its pictures."""
        return 0 if self.last is None else len(self.last.data)

    def tell(self, update: Update) -> None:
        """Take in what happened, and tell all who listen; nothing follows the last one."""
        if self.last is not None:
            return
        if update.is_last:
            self.last, self.finished = update, datetime.now(UTC)
            self.latest.clear()
        elif update.kind == "progress":
            self.latest[update.picture] = update
            self.steps[update.picture] = update.step
        for listener in self.listeners:
            listener.put_nowait(update)

    def reply(self) -> JobReply:
        """Return the job as it is now."""
        outcome = None if self.last is None else self.last.outcome
        refused, result = (outcome, None) if isinstance(outcome, Refused) else (None, outcome)
        return JobReply(
            id=self.name,
            state=self.state,
            created=self.created,
            finished=self.finished,
            step=self.total if self.state == "Succeeded" else sum(self.steps.values()),
            total=self.total,
            result=result,
            error=None if refused is None else problem(refused),
        )


class JobBook:
    """The jobs of one process, forgotten after a day, or sooner when there are many. All belongs to one event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._jobs: dict[str, Job] = {}
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        """Owner and key, to the digest of what was asked for and the job."""

    async def start(self, body: AnyBody, client: Client, preview_every: int = 0, key: str | None = None) -> JobReply:
        """Start a job, or return the one that the client started under this idempotency key."""
        self._forget()
        owned = None if key is None else (client.key or client.ip, key)
        if owned is not None and (known := self._known(owned, body)) is not None:
            return known.reply()
        if sum(job.last is None for job in self._jobs.values()) >= MOST_UNFINISHED:
            message = f"{MOST_UNFINISHED} jobs are at work already."
            raise Refused(Code.LIMITED, message, "Try again.", reason="QueueFull", retry_after_s=RETRY_S)
        requests = with_previews(read(self.service, body), preview_every)
        job = Job(client.key, sum(request.settings.steps for request in requests))
        if owned is not None:
            self._keys[owned] = (_digest(body), job.name)
        self._jobs[job.name] = job
        try:
            admitted = await self.service.admit(requests, client)
        except BaseException as error:
            is_cancelled = isinstance(error, asyncio.CancelledError)
            job.tell(Update("cancelled", "{}") if is_cancelled else failure(error))
            raise
        job.task = asyncio.create_task(self._run(job, admitted, body))
        return job.reply()

    async def look(self, name: str, client: Client) -> JobReply:
        """Return a job as it is now."""
        return self._of(name, client).reply()

    async def cancel(self, name: str, client: Client) -> JobReply:
        """Give a job's rows back at the next step; one that has ended stays as it is."""
        job = self._of(name, client)
        if job.task is not None and job.last is None:
            job.task.cancel()
            with suppress(asyncio.CancelledError):
                await job.task
            job.tell(Update("cancelled", "{}"))
        return job.reply()

    async def watch(self, name: str, client: Client) -> AsyncIterator[Update]:
        """Yield how far a job is and what happens to it, to its end."""
        job = self._of(name, client)
        inbox = asyncio.Queue[Update]()
        for update in [*job.latest.values(), *([] if job.last is None else [job.last])]:
            inbox.put_nowait(update)
        job.listeners.add(inbox)
        try:
            while True:
                update = await inbox.get()
                yield update
                if update.is_last:
                    return
        finally:
            job.listeners.discard(inbox)

    async def close(self) -> None:
        """Start nothing any more; wait for the jobs that are at work."""
        await self.service.door.close()
        await asyncio.gather(*(job.task for job in self._jobs.values() if job.task is not None), return_exceptions=True)

    async def _run(self, job: Job, admitted: Admitted, body: AnyBody) -> None:
        async for update in updates(admitted, body):
            job.tell(update)
        self._forget()

    def _of(self, name: str, client: Client) -> Job:
        job = self._jobs.get(name)
        if job is None or job.owner != client.key:
            raise Refused(Code.NOT_FOUND, f"There is no job {name[:64]}.", "Jobs are kept for a day.")
        return job

    def _known(self, owned: tuple[str, str], body: AnyBody) -> Job | None:
        digest, name = self._keys.get(owned, ("", ""))
        job = self._jobs.get(name)
        if job is None:
            return None
        if digest != _digest(body):
            message = "This idempotency key was used for another request."
            raise Refused(Code.CONFLICT, message, "Use a new key for a new request.", reason="IdempotencyKeyReused")
        is_lost = job.state == "Cancelled" or (
            job.last is not None and isinstance(job.last.outcome, Refused) and job.last.outcome.code in FORGIVEN
        )
        return None if is_lost else job

    def _forget(self) -> None:
        """Forget what ended long ago, and more while there is too much of it, the oldest first."""
        ended = [job for job in self._jobs.values() if job.last is not None]
        count, size, oldest = len(self._jobs), sum(job.size for job in ended), time.monotonic() - KEPT_S
        for job in ended:
            if job.born >= oldest and count < MOST_JOBS and size <= MOST_BYTES:
                break
            del self._jobs[job.name]
            count, size = count - 1, size - job.size
        self._keys = {owned: held for owned, held in self._keys.items() if held[1] in self._jobs}


async def outcome(jobs: Jobs, name: str, client: Client) -> AnyReply:
    """Return what a job comes to. Raises Refused, also for one that was cancelled."""
    async for update in jobs.watch(name, client):
        if isinstance(update.outcome, Refused):
            raise update.outcome
        if update.outcome is not None:
            return update.outcome
    raise Refused(Code.CANCELLED, "The request was cancelled.")


def _digest(body: AnyBody) -> str:
    text = body.model_dump_json(exclude={"stream", "preview_every"})
    kind = next(kind.__name__ for kind in (GenerateBody, CompareBody, GridBody) if isinstance(body, kind))
    return hashlib.sha256(f"{kind} {text}".encode()).hexdigest()
