"""`/v1/adapters`: adapters beside those of the deployment, for keys with scope admin and while `auth.adminRoutes`."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from diptych_api.fields import Digest, Location, Name
from diptych_api.servingconfig import ServedAdapter
from diptych_serving.answers import asker
from diptych_serving.bodies import Body, ModelReply, Strength
from diptych_serving.http_errors import PROBLEMS
from diptych_serving.models import list_models
from diptych_serving.refusals import Code, Refused
from diptych_serving.service import Service

LOADING_S: Final = 60.0
"""How long an answer waits for the engines; what takes longer is told as Loading."""
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {code: PROBLEMS[code] for code in (401, 403, 404, 409, 422, 503)}


class Adapters(Protocol):
    """The adapters of all engines. Both methods raise Refused."""

    async def add(self, adapter: ServedAdapter) -> None:
        """Serve one more adapter."""

    async def remove(self, name: str) -> None:
        """Serve an adapter no longer that was added."""


class AdapterBody(Body):
    """An adapter to serve."""

    name: Name = Field(description="Name by which requests choose it.", examples=["noto"])
    uri: Location = Field(
        description="Folder or file as the engines see it: a path, file://, s3://, gs:// or hf://.",
        examples=["s3://bucket/runs/noto/artifact"],
    )
    digest: Digest | None = Field(default=None, description="Digest that the files must have.")
    strength: Strength = Field(default=1.0, description="Factor of its update where a request names none.")


def router(get_service: Callable[[], Service], get_adapters: Callable[[], Adapters]) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["adapters"])
    TheService = Annotated[Service, Depends(get_service)]
    TheAdapters = Annotated[Adapters, Depends(get_adapters)]

    @routes.post("/v1/adapters", status_code=201, responses=ANSWERS)
    async def add(body: AdapterBody, request: Request, service: TheService, adapters: TheAdapters) -> ModelReply:
        """Load an adapter on every engine; one that fails is taken away again. A restart forgets what was added."""
        _check_allowed(request, service)
        service.directory.intake()  # raises while no engine could tell whether it fits
        wanted = ServedAdapter(**body.model_dump())
        await adapters.add(wanted)
        facts = await service.directory.settled(wanted, LOADING_S)
        if facts.state == "Failed":
            await adapters.remove(wanted.name)
            raise Refused(Code.INVALID, facts.message, reason="AdapterInvalid")
        told = {model.id: model for model in list_models(service.directory)}
        return told.get(wanted.name, ModelReply(id=wanted.name, kind="adapter", state=facts.state))

    @routes.delete("/v1/adapters/{name}", status_code=204, responses=ANSWERS)
    async def remove(name: str, request: Request, service: TheService, adapters: TheAdapters) -> None:
        """Take an adapter away that was added; pictures that draw with it are finished."""
        _check_allowed(request, service)
        await adapters.remove(name)

    return routes


def _check_allowed(request: Request, service: Service) -> None:
    """Raise Refused for one who may not change adapters."""
    config = service.directory.config
    if config is None or not config.auth.admin_routes or service.directory.keys is None:
        hint = "spec.auth.adminRoutes turns it on, spec.adapters has the deployment's own."
        raise Refused(Code.NOT_FOUND, "Adapters are not loaded over HTTP here.", hint, reason="AdminRoutesDisabled")
    asker(request, service, "admin")
