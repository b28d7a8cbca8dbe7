"""Drawing for a request of HTTP, whatever its shape."""

import asyncio
from collections.abc import Sequence

from fastapi import Request

from diptych_serving.bodies import CompareBody, GenerateBody, GridBody, GridReply, PicturesReply
from diptych_serving.identity import joined
from diptych_serving.image_request import ImageRequest
from diptych_serving.keys import Scope
from diptych_serving.rate_limit import Client
from diptych_serving.refusals import Code, Refused
from diptych_serving.replies import grid_reply, pictures_reply
from diptych_serving.service import Admitted, Drawn, Service

Body = GenerateBody | CompareBody
AnyBody = Body | GridBody
AnyReply = PicturesReply | GridReply


def read(service: Service, body: AnyBody) -> list[ImageRequest]:
    """Return what is to be drawn. Raises Refused."""
    intake = service.directory.intake()
    if not service.directory.compares and not isinstance(body, GenerateBody):
        hint = "Ask for one side with /v1/generate."
        raise Refused(Code.NOT_FOUND, "Comparisons are not served here.", hint, reason="CompareDisabled")
    match body:
        case GridBody():
            return intake.grid(body)
        case CompareBody():
            return [intake.compare(body)]
    return intake.generate(body)


async def answer(service: Service, request: Request, body: Body, *, session: str | None = None) -> PicturesReply:
    """Draw and encode. Raises Refused."""
    client = client_from(request, service, body, session)
    admitted = await service.admit(read(service, body), client)
    return await reply(admitted, body, await admitted.draw())


async def reply(admitted: Admitted, body: Body, drawn: Sequence[Drawn]) -> PicturesReply:
    """Return what was drawn, encoded in a thread."""
    base, grid = admitted.service.directory.intake().base, isinstance(body, CompareBody) and body.grid
    return await asyncio.to_thread(pictures_reply, admitted.name, drawn, base, admitted.started, body.format, grid=grid)


async def any_reply(admitted: Admitted, body: AnyBody, drawn: Sequence[Drawn]) -> AnyReply:
    """Return what was drawn in the shape of what was asked."""
    if not isinstance(body, GridBody):
        return await reply(admitted, body, drawn)
    base = admitted.service.directory.intake().base
    return await asyncio.to_thread(grid_reply, admitted.name, drawn, base, admitted.started, body.format)


def client_from(request: Request, service: Service, body: AnyBody, session: str | None = None) -> Client:
    """Return who asks for pictures. Raises Refused for one who may not."""
    return asker(request, service, "generate" if isinstance(body, GenerateBody) else "compare", session)


def asker(request: Request, service: Service, scope: Scope | None = "generate", session: str | None = None) -> Client:
    """Return who asks; without a scope any key will do. Raises Refused for one who may not."""
    peer = request.client.host if request.client else ""
    return service.directory.client(peer, joined(request.headers.items()), scope, session)
