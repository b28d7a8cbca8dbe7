"""`/v1/jobs`: work that goes on when its client is away."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse

from diptych_serving import http_errors
from diptych_serving.answers import AnyBody, asker, client_from
from diptych_serving.bodies import JobBody, JobReply
from diptych_serving.jobs import Jobs
from diptych_serving.service import Service
from diptych_serving.updates import sse

EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    **http_errors.PROBLEMS,
    200: {"content": http_errors.STREAM},
}

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=255, description="Whoever repeats it gets the same reply."
    ),
]


def router(get_service: Callable[[], Service], get_jobs: Callable[[], Jobs]) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["jobs"])
    TheService = Annotated[Service, Depends(get_service)]
    TheJobs = Annotated[Jobs, Depends(get_jobs)]

    @routes.post("/v1/jobs", status_code=202, responses=http_errors.PROBLEMS)
    async def start(
        body: JobBody,
        request: Request,
        response: Response,
        service: TheService,
        jobs: TheJobs,
        idempotency_key: Key = None,
    ) -> JobReply:
        """Start a job; it goes on when the connection is closed."""
        wanted = _wanted(body)
        job = await jobs.start(wanted, client_from(request, service, wanted), body.preview_every, idempotency_key)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return job

    @routes.get("/v1/jobs/{name}", responses=http_errors.PROBLEMS)
    async def look(name: str, request: Request, service: TheService, jobs: TheJobs) -> JobReply:
        """Look at a job; it holds its pictures when it has succeeded."""
        return await jobs.look(name, asker(request, service, None))

    @routes.delete("/v1/jobs/{name}", responses=http_errors.PROBLEMS)
    async def cancel(name: str, request: Request, service: TheService, jobs: TheJobs) -> JobReply:
        """Cancel a job; what it takes on the GPU is free at the next step."""
        return await jobs.cancel(name, asker(request, service, None))

    @routes.get("/v1/jobs/{name}/events", response_class=StreamingResponse, responses=EVENTS)
    async def events(name: str, request: Request, service: TheService, jobs: TheJobs) -> StreamingResponse:
        """Follow a job from now to its end."""
        client = asker(request, service, None)
        await jobs.look(name, client)
        return EventSourceResponse(sse(jobs.watch(name, client)))

    return routes


def _wanted(body: JobBody) -> AnyBody:
    given = [part for part in (body.generate, body.compare, body.grid) if part is not None]
    return given[0]
