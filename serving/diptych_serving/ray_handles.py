"""The other deployments, as gateways and jobs reach them through Ray Serve handles."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from diptych_api.limits import RateLimit
from diptych_api.servingconfig import ServedAdapter, ServingConfig
from diptych_serving.allowances import Allowance
from diptych_serving.answers import AnyBody
from diptych_serving.bodies import JobReply
from diptych_serving.degrade import Degraded
from diptych_serving.directory import Directory
from diptych_serving.image_request import Event, Failed, Finished, ImageRequest
from diptych_serving.rate_limit import Client, Refusal
from diptych_serving.ray_metrics import DrawMetrics
from diptych_serving.records import log_record
from diptych_serving.refusals import Code, Refused
from diptych_serving.result_cache import CachedEngines
from diptych_serving.service import Engines, Service
from diptych_serving.tally import Tally
from diptych_serving.updates import Update

LOOK_EVERY_S: Final = 1.0
LOST_RETRY_S: Final = 5.0
ATTEMPTS: Final = 3
JOBS_AWAY: Final = "The jobs are being moved; those of before are lost."
REGISTRY_AWAY: Final = "The registry of adapters is being moved."
Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


class RayEngines:
    """The engine replicas behind a handle."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle.options(stream=True)

    async def draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
        """Yield what a replica tells; whoever stops listening cancels it there.

        A replica that dies takes nothing along but time: the same request gives the same pictures on another one.
        """
        for _ in range(ATTEMPTS):
            response = cast("DeploymentResponseGenerator[Event | Degraded]", self._handle.draw.remote(request))
            try:
                async for event in response:
                    yield event
                    if isinstance(event, Finished | Failed):
                        return
            except (RayError, DeploymentUnavailableError) as error:
                if isinstance(error, RayTaskError):
                    raise
                _log.warning("An engine replica was lost; its request goes to another one.")
            finally:
                response.cancel()
        raise Refused(Code.UNAVAILABLE, "The engines are being replaced.", "Try again.", retry_after_s=LOST_RETRY_S)


class RayLimiter:
    """The limiter behind a handle; waited for only while a limit is set."""

    def __init__(self, handle: DeploymentHandle[Any], directory: Directory) -> None:
        self._handle = handle
        self._directory = directory

    async def admit(self, client: Client, work: float) -> Refusal | None:
        """Count a request, or return why it is refused."""
        answer = self._handle.admit.remote(client, work)
        return cast("Refusal | None", await answer) if self._is_limited else None

    async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        """Count the work of a request that was let in; without limits nobody asks for it."""
        if self._is_limited:
            await self._handle.finished.remote(client, seconds, succeeded=succeeded)

    async def allowances(self, client: Client) -> list[Allowance] | Refusal:
        """Return what is left of each limit, or why that is not known."""
        if not self._is_limited:
            return []
        return cast("list[Allowance] | Refusal", await self._handle.allowances.remote(client))

    async def tally(self) -> Tally:
        """Return what was asked for since the limiter started."""
        return cast("Tally", await self._handle.tally.remote())

    @property
    def _is_limited(self) -> bool:
        config = self._directory.config
        return config is not None and config.rate_limit != RateLimit()


class RayJobs:
    """The jobs behind a handle."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle
        self._streams = handle.options(stream=True)

    async def start(self, body: AnyBody, client: Client, preview_every: int = 0, key: str | None = None) -> JobReply:
        """Start a job, or return the one that the client started under this idempotency key."""
        return await _answer(self._handle.start.remote(body, client, preview_every, key))

    async def look(self, name: str, client: Client) -> JobReply:
        """Return a job as it is now."""
        return await _answer(self._handle.look.remote(name, client))

    async def cancel(self, name: str, client: Client) -> JobReply:
        """Give a job's rows back at the next step; one that has ended stays as it is."""
        return await _answer(self._handle.cancel.remote(name, client))

    async def watch(self, name: str, client: Client) -> AsyncIterator[Update]:
        """Yield how far a job is and what happens to it, to its end."""
        response = cast("DeploymentResponseGenerator[Update]", self._streams.watch.remote(name, client))
        try:
            async for update in response:
                yield update
        except (RayError, DeploymentUnavailableError) as error:
            raise _refusal(error) from error
        finally:
            response.cancel()


class RayAdapters:
    """The registry behind a handle, as those see it who may add adapters."""

    def __init__(self, registry: DeploymentHandle[Any]) -> None:
        self._registry = registry

    async def add(self, adapter: ServedAdapter) -> None:
        """Serve one more adapter."""
        await _answer(self._registry.add.remote(adapter), REGISTRY_AWAY)

    async def remove(self, name: str) -> None:
        """Serve an adapter no longer that was added."""
        await _answer(self._registry.remove.remote(name), REGISTRY_AWAY)


async def _answer(call: Awaitable[Answer], away: str = JOBS_AWAY) -> Answer:
    try:
        return await call
    except (RayError, DeploymentUnavailableError) as error:
        raise _refusal(error, away) from error


def _refusal(error: Exception, away: str = JOBS_AWAY) -> Exception:
    """Return what the other side raised, or that it is away."""
    if isinstance(error, RayTaskError):
        return error.cause if isinstance(error.cause, Refused) else error
    return Refused(Code.UNAVAILABLE, away, "Try again.", retry_after_s=LOST_RETRY_S)


def ray_service(config: ServingConfig, engines: DeploymentHandle[Any], limiter: DeploymentHandle[Any]) -> Service:
    """Return the service that draws through handles; nothing is known of the registry yet."""
    directory = Directory(config.name, compares=config.endpoints.compare.enabled)
    observers = (log_record, DrawMetrics().take)
    drawn: Engines = RayEngines(engines)
    if config.result_cache.max_bytes:
        drawn = CachedEngines(drawn, directory, config.result_cache)
    return Service(directory, drawn, RayLimiter(limiter, directory), observers)


class Follower:
    """Keeps a directory as the registry has it, for ever; while that is away, it goes on with what it knows."""

    def __init__(self, directory: Directory, registry: DeploymentHandle[Any]) -> None:
        self._directory = directory
        self._registry = registry
        self._version = ""
        self._tasks = [asyncio.ensure_future(self._follow()), asyncio.ensure_future(self._look())]

    def stop(self) -> None:
        """Follow no longer."""
        for task in self._tasks:
            task.cancel()

    async def _follow(self) -> None:
        while True:
            try:
                newer = await self._registry.newer.remote(self._version)
            except Exception:  # noqa: BLE001 -- it comes back
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            if newer is not None:
                self._version, config = newer
                self._directory.configure(config, os.environ)

    async def _look(self) -> None:
        while True:
            with suppress(Exception):
                self._directory.update(await self._registry.replicas.remote())
                self._directory.notes = await self._registry.notes.remote()
            await asyncio.sleep(LOOK_EVERY_S)
