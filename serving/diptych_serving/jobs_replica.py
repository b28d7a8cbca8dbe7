"""The jobs as a Ray Serve deployment: one replica for all gateways."""

from collections.abc import AsyncIterator
from typing import Any

from ray.serve.handle import DeploymentHandle

from diptych_api.servingconfig import ServingConfig
from diptych_api.wire import from_wire
from diptych_serving.answers import AnyBody
from diptych_serving.bodies import JobReply
from diptych_serving.jobs import JobBook
from diptych_serving.rate_limit import Client
from diptych_serving.ray_handles import Follower, ray_service
from diptych_serving.updates import Update


class JobsReplica:
    """Holds the jobs and draws them. When it leaves, it waits for those at work."""

    def __init__(
        self,
        values: dict[str, Any],
        engines: DeploymentHandle[Any],
        registry: DeploymentHandle[Any],
        limiter: DeploymentHandle[Any],
    ) -> None:
        service = ray_service(from_wire(ServingConfig, values), engines, limiter)
        self._book = JobBook(service)
        self._follower = Follower(service.directory, registry)

    async def start(self, body: AnyBody, client: Client, preview_every: int, key: str | None) -> JobReply:
        """Start a job, or return the one that the client started under this idempotency key."""
        return await self._book.start(body, client, preview_every, key)

    async def look(self, name: str, client: Client) -> JobReply:
        """Return a job as it is now."""
        return await self._book.look(name, client)

    async def cancel(self, name: str, client: Client) -> JobReply:
        """Give a job's rows back at the next step; one that has ended stays as it is."""
        return await self._book.cancel(name, client)

    async def watch(self, name: str, client: Client) -> AsyncIterator[Update]:
        """Yield how far a job is and what happens to it, to its end."""
        async for update in self._book.watch(name, client):
            yield update

    async def drain(self) -> None:
        """Refuse what comes from now on; return when every job has ended."""
        await self._book.close()

    async def __del__(self) -> None:
        """Finish what was started."""
        await self._book.close()
        self._follower.stop()
