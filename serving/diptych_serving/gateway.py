"""The gateway as a Ray Serve deployment."""

from collections.abc import AsyncIterator
from typing import Any, cast

from ray import serve
from ray.serve.handle import DeploymentHandle

from diptych_serving import grpc_api
from diptych_serving.http_api import build_http
from diptych_serving.jobs import Jobs
from diptych_serving.ray_handles import Follower, RayEngines, RayJobs, RayLimiter
from diptych_serving.ray_metrics import DrawMetrics, all_metrics
from diptych_serving.records import log_record
from diptych_serving.service import Directory, Service
from diptych_serving.v1 import images_pb2 as pb


def this_service() -> Service:
    """Return the service of the gateway replica that this process is."""
    return _this_gateway().service


def these_jobs() -> Jobs:
    """Return the jobs as the gateway replica that this process is reaches them."""
    return _this_gateway().jobs


def _this_gateway() -> "Gateway":
    return cast("Gateway", serve.get_replica_context().servable_object)


class Gateway:
    """Answers HTTP and gRPC. It follows the registry, and goes on with what it knows while that is away."""

    def __init__(
        self,
        name: str,
        engines: DeploymentHandle[Any],
        registry: DeploymentHandle[Any],
        limiter: DeploymentHandle[Any],
        jobs: DeploymentHandle[Any],
        *,
        has_engines: bool = True,
    ) -> None:
        directory = Directory(name, has_engines=has_engines)
        observers = (log_record, DrawMetrics().take)
        self.service = Service(directory, RayEngines(engines), RayLimiter(limiter, directory), observers)
        self.jobs = RayJobs(jobs)
        self._back = grpc_api.Back(self.service, self.jobs)
        self._follower = Follower(directory, registry)

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


app = build_http(this_service, these_jobs, all_metrics)
