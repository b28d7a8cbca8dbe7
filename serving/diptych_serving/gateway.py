"""The gateway as a Ray Serve deployment."""

from collections.abc import AsyncIterator
from typing import Any, cast

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from diptych_api.endpoints import Endpoints
from diptych_api.servingconfig import ServingConfig
from diptych_api.wire import from_wire
from diptych_serving import grpc_api
from diptych_serving.http_api import Figures, build_http
from diptych_serving.jobs import Jobs
from diptych_serving.page.remote import RayPage, mount
from diptych_serving.ray_handles import Follower, RayAdapters, RayJobs, RayLimiter, ray_service
from diptych_serving.ray_metrics import all_metrics
from diptych_serving.service import Service
from diptych_serving.tally import Tally
from diptych_serving.v1 import images_pb2 as pb


def this_service() -> Service:
    """Return the service of the gateway replica that this process is."""
    return _this_gateway().service


def these_jobs() -> Jobs:
    """Return the jobs as the gateway replica that this process is reaches them."""
    return _this_gateway().jobs


def these_adapters() -> RayAdapters:
    """Return the registry as the gateway replica that this process is reaches it."""
    return _this_gateway().adapters


async def this_tally() -> Tally:
    """Return what was asked of all gateways."""
    return await _this_gateway().limiter.tally()


def this_page() -> RayPage:
    """Return the page as the gateway replica that this process is reaches it."""
    return cast("RayPage", _this_gateway().page)


def http_app(endpoints: Endpoints, *, has_page: bool) -> FastAPI:
    """Return the HTTP API of a gateway, with the page on its path."""
    figures = Figures(prometheus=all_metrics, tally=this_tally)
    app = build_http(this_service, these_jobs, these_adapters, figures, origins=endpoints.http.cors_origins)
    if has_page:
        mount(app, this_page)
    return app


def _this_gateway() -> "Gateway":
    return cast("Gateway", serve.get_replica_context().servable_object)


class Gateway:
    """Answers HTTP and gRPC. It follows the registry, and goes on with what it knows while that is away."""

    def __init__(
        self,
        values: dict[str, Any],
        engines: DeploymentHandle[Any],
        registry: DeploymentHandle[Any],
        limiter: DeploymentHandle[Any],
        jobs: DeploymentHandle[Any],
        page: DeploymentHandle[Any] | None = None,
    ) -> None:
        self.service = ray_service(from_wire(ServingConfig, values), engines, limiter)
        self.limiter = RayLimiter(limiter, self.service.directory)
        self.jobs = RayJobs(jobs)
        self.adapters = RayAdapters(registry)
        self.page = None if page is None else RayPage(page, self.service.directory.page_ticket)
        self._back = grpc_api.Back(self.service, self.jobs)
        self._follower = Follower(self.service.directory, registry)

    async def drain(self) -> None:
        """Refuse what comes from now on; return when everything is drawn that was let in."""
        await self.service.door.close()

    async def Generate(  # noqa: N802 - as in the proto
        self, request: pb.GenerateRequest, grpc_context: grpc_api.Context
    ) -> pb.PicturesReply:
        """Draw a prompt with one adapter or the base, for n seeds."""
        return await grpc_api.generate(self._back, request, grpc_context)

    async def Compare(  # noqa: N802 - as in the proto
        self, request: pb.CompareRequest, grpc_context: grpc_api.Context
    ) -> pb.PicturesReply:
        """Draw a prompt with base and adapters side by side."""
        return await grpc_api.compare(self._back, request, grpc_context)

    async def GenerateStream(  # noqa: N802 - as in the proto
        self, request: pb.GenerateRequest, grpc_context: grpc_api.Context
    ) -> AsyncIterator[pb.Event]:
        """Draw as Generate does, telling progress on the way."""
        async for event in grpc_api.generate_stream(self._back, request, grpc_context):
            yield event

    async def CompareStream(  # noqa: N802 - as in the proto
        self, request: pb.CompareRequest, grpc_context: grpc_api.Context
    ) -> AsyncIterator[pb.Event]:
        """Draw as Compare does, telling progress on the way."""
        async for event in grpc_api.compare_stream(self._back, request, grpc_context):
            yield event

    async def ListModels(  # noqa: N802 - as in the proto
        self, _request: pb.ListModelsRequest, grpc_context: grpc_api.Context
    ) -> pb.ListModelsReply:
        """List the base and the adapters."""
        return await grpc_api.models(self.service, grpc_context)
