"""The HTTP API. It knows a Service, not Ray."""

import asyncio
import time
import uuid
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from diptych_serving import http_errors
from diptych_serving.bodies import CompareBody, GenerateBody, ModelReply, ModelsReply, PicturesReply
from diptych_serving.identity import client_of
from diptych_serving.image_request import ImageRequest
from diptych_serving.rate_limit import Client
from diptych_serving.replies import pictures_reply
from diptych_serving.service import Service

DESCRIPTION = "Pictures from a base and its adapters, side by side: same prompt, same noise, one forward pass."
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {http_errors.MEDIA_TYPE: {}}}
    for code, text in {
        404: "There is no such adapter or template.",
        413: "Too much work for one request.",
        422: "A field is wrong; `errors` names it.",
        429: "A limit is reached, or the queue is full. Try again after Retry-After.",
        503: "The base is not loaded yet. Try again after Retry-After.",
        504: "It took too long.",
    }.items()
}
GetService = Callable[[], Service]


def build_http(get_service: GetService, title: str = "Diptych") -> FastAPI:
    """Return the application; ``get_service`` is asked at each request."""
    app = FastAPI(title=title, version=version("diptych"), description=DESCRIPTION)
    http_errors.install(app)
    app.include_router(_drawing(get_service))
    app.include_router(_telling(get_service))
    return app


def _drawing(get_service: GetService) -> APIRouter:
    router = APIRouter(tags=["pictures"])
    TheService = Annotated[Service, Depends(get_service)]

    @router.post("/v1/generate", responses=PROBLEMS)
    async def generate(body: GenerateBody, request: Request, service: TheService) -> PicturesReply:
        """Draw a prompt with one adapter or the base, for `n` seeds."""
        return await _answer(service, request, body, service.directory.intake().generate(body))

    @router.post("/v1/compare", responses=PROBLEMS)
    async def compare(body: CompareBody, request: Request, service: TheService) -> PicturesReply:
        """Draw a prompt with base and adapters side by side, from the same noise."""
        return await _answer(service, request, body, [service.directory.intake().compare(body)], grid=body.grid)

    return router


async def _answer(
    service: Service,
    request: Request,
    body: GenerateBody | CompareBody,
    requests: list[ImageRequest],
    *,
    grid: bool = False,
) -> PicturesReply:
    started, base = time.monotonic(), service.directory.intake().base
    drawn = await service.draw(requests, _client(request, service))
    return await asyncio.to_thread(pictures_reply, uuid.uuid4().hex, drawn, base, started, body.format, grid=grid)


def _client(request: Request, service: Service) -> Client:
    config = service.directory.config
    peer = request.client.host if request.client else ""
    return client_of(peer, request.headers, () if config is None else config.trusted_proxies)


def _telling(get_service: GetService) -> APIRouter:
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

    @router.get("/ready", responses={503: {"description": "The base or an adapter is still being loaded."}})
    async def ready(service: TheService) -> JSONResponse:
        """Say whether the base is loaded and each adapter is loaded or has finally failed, and why one has."""
        directory = service.directory
        adapters = {
            facts.name: {"state": facts.state, "message": facts.message, "digest": facts.digest}
            for facts in directory.adapters()
        }
        values = {"ready": directory.is_ready, "replicas": len(directory.replicas), "adapters": adapters}
        return JSONResponse(values, 200 if directory.is_ready else 503)

    @router.get("/v1/models")
    async def models(service: TheService) -> ModelsReply:
        """List the base and the adapters."""
        return ModelsReply(data=_models(service))

    @router.get("/v1/examples")
    async def examples(service: TheService) -> dict[str, Any]:
        """List example prompts and prompt templates."""
        config = service.directory.intake().config
        templates = [
            template.model_dump(include={"name", "template", "negative_prompt"}) for template in config.prompt_templates
        ]
        return {"prompts": list(config.examples), "templates": templates}

    return router


def _models(service: Service) -> list[ModelReply]:
    intake = service.directory.intake()
    served = {adapter.name: adapter for adapter in intake.config.adapters}
    state = "Loaded" if service.directory.replicas else "Waiting"
    base = ModelReply(id=intake.base.name, kind="base", state=state, digest=intake.base.digest)
    adapters = [
        ModelReply(
            id=facts.name,
            kind="adapter",
            state=facts.state,
            digest=facts.digest,
            rank=facts.rank,
            strength=served[facts.name].strength,
            run=served[facts.name].run,
            message=facts.message,
        )
        for facts in service.directory.adapters()
    ]
    return [base, *adapters]
