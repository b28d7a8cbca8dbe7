"""The HTTP API. It knows a Service, not Ray."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPBearer
from fastapi.sse import EventSourceResponse

from diptych_api.readiness import Readiness
from diptych_serving import adapters_api, compatible_api, http_errors, jobs_api, openai_api
from diptych_serving.adapters_api import Adapters
from diptych_serving.allowances import LimitsReply
from diptych_serving.answers import AnyReply, any_reply, asker, client_from, read
from diptych_serving.bodies import (
    CompareStreamBody,
    GenerateStreamBody,
    GridReply,
    GridStreamBody,
    ModelReply,
    ModelsReply,
    PicturesReply,
)
from diptych_serving.body_limit import BodyLimit
from diptych_serving.connection_age import ConnectionAge
from diptych_serving.deployment_facts import DeploymentReply, describe
from diptych_serving.jobs import Jobs, outcome
from diptych_serving.jobs_api import Key
from diptych_serving.models import list_models
from diptych_serving.rate_limit import Client
from diptych_serving.readiness import readiness
from diptych_serving.refusals import Code, Refused
from diptych_serving.service import Service
from diptych_serving.streams import with_previews
from diptych_serving.tally import Tally
from diptych_serving.updates import sse, updates

DESCRIPTION = "Pictures from a base and its adapters, side by side: same prompt, same noise, one forward pass."
StreamedBody = GenerateStreamBody | CompareStreamBody | GridStreamBody
STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    **http_errors.PROBLEMS,
    200: {"content": http_errors.STREAM},
}
ONE: Final = {**http_errors.LISTING, 404: http_errors.PROBLEMS[404]}
LIMITS: Final = {**http_errors.LISTING, 429: http_errors.PROBLEMS[429]}
UNREADY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": Readiness, "description": "The base or an adapter is still being loaded."}
}
GetService = Callable[[], Service]
GetJobs = Callable[[], Jobs]
GetAdapters = Callable[[], Adapters]
EXPOSED: Final[dict[str, Any]] = {"expose_headers": ["Location", "Retry-After", "X-Seed", "X-Warning"], "max_age": 600}
PROMETHEUS: Final = "text/plain; version=1.0.0; charset=utf-8"
API_KEY: Final = Security(
    HTTPBearer(
        scheme_name="APIKey",
        description="Asked for where the deployment names `auth.apiKeys`; otherwise anybody may ask.",
        auto_error=False,
    )
)
"""Tells the OpenAPI document; who may ask is decided where asker is called."""


async def _no_page() -> bytes:
    return b""


async def _no_tally() -> Tally:
    return Tally()


@dataclass(frozen=True, slots=True)
class Figures:
    """Where the figures of all replicas come from."""

    prometheus: Callable[[], Awaitable[bytes]] = _no_page
    tally: Callable[[], Awaitable[Tally]] = _no_tally


_Draw = Callable[[StreamedBody], Awaitable[AnyReply | Response]]


def build_http(
    get_service: GetService,
    get_jobs: GetJobs,
    get_adapters: GetAdapters,
    figures: Figures = Figures(),
    origins: Sequence[str] = (),
) -> FastAPI:
    """Return the application; what it needs is asked for at each request. Pages of ``origins`` may call it."""
    app = FastAPI(title="Diptych", version=version("diptych"), description=DESCRIPTION)
    http_errors.install(app)
    app.add_middleware(BodyLimit, largest=lambda: get_service().directory.limits.max_body_bytes)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], **EXPOSED)
    app.add_middleware(ConnectionAge)
    keyed = (
        _drawing(get_service, get_jobs),
        jobs_api.router(get_service, get_jobs),
        openai_api.router(get_service),
        compatible_api.router(get_service),
        adapters_api.router(get_service, get_adapters),
        _listing(get_service),
    )
    for router in keyed:
        app.include_router(router, dependencies=[API_KEY])
    app.include_router(_telling(get_service, figures))
    return app


def _drawing(get_service: GetService, get_jobs: GetJobs) -> APIRouter:
    router = APIRouter(tags=["pictures"])
    TheDraw = Annotated[_Draw, Depends(_drawer(get_service, get_jobs))]

    @router.post("/v1/generate", response_model=PicturesReply, responses=STREAMED)
    async def generate(body: GenerateStreamBody, draw: TheDraw) -> AnyReply | Response:
        """Draw a prompt with one adapter or the base, for `n` seeds."""
        return await draw(body)

    @router.post("/v1/compare", response_model=PicturesReply, responses=STREAMED)
    async def compare(body: CompareStreamBody, draw: TheDraw) -> AnyReply | Response:
        """Draw a prompt with base and adapters side by side, from the same noise."""
        return await draw(body)

    @router.post("/v1/grids", response_model=GridReply, responses=STREAMED)
    async def grids(body: GridStreamBody, draw: TheDraw) -> AnyReply | Response:
        """Draw every prompt with every seed, each by base and adapters, and one sheet of all."""
        return await draw(body)

    return router


def _drawer(get_service: GetService, get_jobs: GetJobs) -> Callable[..., _Draw]:
    """Return the dependency that draws for a request, as a job when it has an idempotency key."""
    TheService = Annotated[Service, Depends(get_service)]
    TheJobs = Annotated[Jobs, Depends(get_jobs)]

    def dependency(request: Request, service: TheService, jobs: TheJobs, idempotency_key: Key = None) -> _Draw:
        async def draw(body: StreamedBody) -> AnyReply | Response:
            client = client_from(request, service, body)
            if idempotency_key is None:
                return await _drawn(service, client, body)
            job = await jobs.start(body, client, body.preview_every if body.stream else 0, idempotency_key)
            if not body.stream:
                return await outcome(jobs, job.id, client)
            return EventSourceResponse(sse(jobs.watch(job.id, client)))

        return draw

    return dependency


async def _drawn(service: Service, client: Client, body: StreamedBody) -> AnyReply | Response:
    """Return the reply, or a stream that ends with it. Raises Refused."""
    requests = with_previews(read(service, body), body.preview_every if body.stream else 0)
    admitted = await service.admit(requests, client)
    if not body.stream:
        return await any_reply(admitted, body, await admitted.draw())
    return EventSourceResponse(sse(updates(admitted, body)))


def _telling(get_service: GetService, figures: Figures) -> APIRouter:
    router = APIRouter(tags=["service"])
    TheService = Annotated[Service, Depends(get_service)]

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Say that the gateway is alive."""
        return {"status": "ok"}

    @router.get("/ping")
    async def ping() -> dict[str, str]:
        """Say that the gateway is alive."""
        return {"status": "ok"}

    @router.get("/ready", response_model=Readiness, responses=UNREADY)
    async def ready(service: TheService) -> JSONResponse:
        """Say whether the base is loaded and each adapter is loaded or has finally failed, and why one has."""
        told = readiness(service)
        return JSONResponse(told.model_dump(mode="json"), 200 if told.ready else 503)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Tell the figures of all replicas, as Prometheus reads them."""
        return Response(await figures.prometheus(), media_type=PROMETHEUS)

    @router.get("/metrics-lite")
    async def metrics_lite() -> Tally:
        """Tell how much was asked for, in four figures."""
        return await figures.tally()

    return router


def _listing(get_service: GetService) -> APIRouter:
    TheService = Annotated[Service, Depends(get_service)]

    async def with_any_key(request: Request, service: TheService) -> Client:
        return asker(request, service, None)

    router = APIRouter(tags=["service"], dependencies=[Depends(with_any_key)])

    @router.get("/v1/models", responses=http_errors.LISTING)
    async def models(service: TheService) -> ModelsReply:
        """List the base and the adapters."""
        return ModelsReply(data=list_models(service.directory))

    @router.get("/v1/models/{name:path}", responses=ONE)
    async def model(name: str, service: TheService) -> ModelReply:
        """Tell of the base or of one adapter."""
        found = [model for model in list_models(service.directory) if model.id == name]
        if not found:
            raise Refused(Code.NOT_FOUND, f"There is no model {name[:64]}.", "/v1/models lists all.")
        return found[0]

    @router.get("/v1/deployment", responses=http_errors.LISTING)
    async def deployment(service: TheService) -> DeploymentReply:
        """Tell what runs here, what a request is drawn with that names nothing, and how much it may ask for."""
        return describe(service.directory)

    @router.get("/v1/limits", responses=LIMITS)
    async def limits(client: Annotated[Client, Depends(with_any_key)], service: TheService) -> LimitsReply:
        """Tell what is left of each limit of who asks; nothing where none is set. It counts as no request."""
        return LimitsReply(limits=await service.allowances(client))

    @router.get("/v1/examples", responses=http_errors.LISTING)
    async def examples(service: TheService) -> dict[str, Any]:
        """List example prompts and prompt templates."""
        config = service.directory.intake().config
        templates = [
            template.model_dump(include={"name", "template", "negative_prompt"}) for template in config.prompt_templates
        ]
        return {"prompts": list(config.examples), "templates": templates}

    return router
