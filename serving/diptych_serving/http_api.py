"""The HTTP API. It knows a Service, not Ray."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from diptych_serving import compatible_api, http_errors, openai_api
from diptych_serving.answers import answer
from diptych_serving.bodies import CompareBody, GenerateBody, ModelsReply, PicturesReply
from diptych_serving.body_limit import BodyLimit
from diptych_serving.models import list_models
from diptych_serving.service import Service

DESCRIPTION = "Pictures from a base and its adapters, side by side: same prompt, same noise, one forward pass."
GetService = Callable[[], Service]


def build_http(get_service: GetService, title: str = "Diptych") -> FastAPI:
    """Return the application; ``get_service`` is asked at each request."""
    app = FastAPI(title=title, version=version("diptych"), description=DESCRIPTION)
    http_errors.install(app)
    app.add_middleware(BodyLimit, largest=lambda: get_service().directory.limits.max_body_bytes)
    app.include_router(_drawing(get_service))
    app.include_router(openai_api.router(get_service))
    app.include_router(compatible_api.router(get_service))
    app.include_router(_telling(get_service))
    return app


def _drawing(get_service: GetService) -> APIRouter:
    router = APIRouter(tags=["pictures"])
    TheService = Annotated[Service, Depends(get_service)]

    @router.post("/v1/generate", responses=http_errors.PROBLEMS)
    async def generate(body: GenerateBody, request: Request, service: TheService) -> PicturesReply:
        """Draw a prompt with one adapter or the base, for `n` seeds."""
        return await answer(service, request, body)

    @router.post("/v1/compare", responses=http_errors.PROBLEMS)
    async def compare(body: CompareBody, request: Request, service: TheService) -> PicturesReply:
        """Draw a prompt with base and adapters side by side, from the same noise."""
        return await answer(service, request, body)

    return router


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
        return ModelsReply(data=list_models(service.directory))

    @router.get("/v1/examples")
    async def examples(service: TheService) -> dict[str, Any]:
        """List example prompts and prompt templates."""
        config = service.directory.intake().config
        templates = [
            template.model_dump(include={"name", "template", "negative_prompt"}) for template in config.prompt_templates
        ]
        return {"prompts": list(config.examples), "templates": templates}

    return router
