"""The gateway as a Ray Serve deployment, and how it reaches the others."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, cast

from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from diptych_api.limits import RateLimit
from diptych_serving import grpc_api
from diptych_serving.degrade import Degraded
from diptych_serving.http_api import build_http
from diptych_serving.image_request import Event, Failed, Finished, ImageRequest
from diptych_serving.rate_limit import Client, Refusal
from diptych_serving.refusals import Code, Refused
from diptych_serving.service import Directory, Service
from diptych_serving.v1 import images_pb2 as pb

LOOK_EVERY_S: Final = 1.0
LOST_RETRY_S: Final = 5.0
ATTEMPTS: Final = 3
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
    """The limiter behind a handle; asked only while a limit is set."""

    def __init__(self, handle: DeploymentHandle[Any], directory: Directory) -> None:
        self._handle = handle
        self._directory = directory

    async def admit(self, client: Client, work: float) -> Refusal | None:
        """Count a request, or return why it is refused."""
        config = self._directory.config
        if config is None or config.rate_limit == RateLimit():
            return None
        return cast("Refusal | None", await self._handle.admit.remote(client, work))

    async def finished(self, client: Client, seconds: float, *, succeeded: bool) -> None:
        """Count the work of a request that was let in."""
        config = self._directory.config
        if config is not None and config.rate_limit != RateLimit():
            await self._handle.finished.remote(client, seconds, succeeded=succeeded)


def this_service() -> Service:
    """Return the service of the gateway replica that this process is."""
    gateway: Any = serve.get_replica_context().servable_object
    return cast("Service", gateway.service)


class Gateway:
    """Answers HTTP and gRPC. It follows the registry, and goes on with what it knows while that is away."""

    def __init__(
        self, name: str, engines: DeploymentHandle[Any], registry: DeploymentHandle[Any], limiter: DeploymentHandle[Any]
    ) -> None:
        directory = Directory(name)
        self.service = Service(directory, RayEngines(engines), RayLimiter(limiter, directory))
        self._registry = registry
        self._version = ""
        self._tasks = [asyncio.ensure_future(self._follow()), asyncio.ensure_future(self._look())]

    async def Generate(  # noqa: N802 - as in the proto
        self, request: pb.GenerateRequest, grpc_context: grpc_api.Context
    ) -> pb.PicturesReply:
        """Draw a prompt with one adapter or the base, for n seeds."""
        return await grpc_api.generate(self.service, request, grpc_context)

    async def Compare(  # noqa: N802 - as in the proto
        self, request: pb.CompareRequest, grpc_context: grpc_api.Context
    ) -> pb.PicturesReply:
        """Draw a prompt with base and adapters side by side."""
        return await grpc_api.compare(self.service, request, grpc_context)

    async def GenerateStream(  # noqa: N802 - as in the proto
        self, request: pb.GenerateRequest, grpc_context: grpc_api.Context
    ) -> AsyncIterator[pb.Event]:
        """Draw as Generate does, telling progress on the way."""
        async for event in grpc_api.generate_stream(self.service, request, grpc_context):
            yield event

    async def CompareStream(  # noqa: N802 - as in the proto
        self, request: pb.CompareRequest, grpc_context: grpc_api.Context
    ) -> AsyncIterator[pb.Event]:
        """Draw as Compare does, telling progress on the way."""
        async for event in grpc_api.compare_stream(self.service, request, grpc_context):
            yield event

    async def ListModels(  # noqa: N802 - as in the proto
        self, _request: pb.ListModelsRequest, grpc_context: grpc_api.Context
    ) -> pb.ListModelsReply:
        """List the base and the adapters."""
        return await grpc_api.models(self.service, grpc_context)

    async def _follow(self) -> None:
        while True:
            try:
                newer = await self._registry.newer.remote(self._version)
            except Exception:  # noqa: BLE001 -- it comes back
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            if newer is not None:
                self._version, config = newer
                self.service.directory.configure(config, os.environ)

    async def _look(self) -> None:
        while True:
            with suppress(Exception):
                self.service.directory.update(await self._registry.replicas.remote())
            await asyncio.sleep(LOOK_EVERY_S)


app = build_http(this_service)
