"""Drawing for a request of HTTP, whatever its shape."""

import asyncio
import time
import uuid
from collections.abc import Sequence

from fastapi import Request

from diptych_serving.bodies import CompareBody, GenerateBody, GridBody, GridReply, PicturesReply
from diptych_serving.identity import joined
from diptych_serving.image_request import ImageRequest
from diptych_serving.keys import Scope
from diptych_serving.rate_limit import Client
from diptych_serving.replies import grid_reply, pictures_reply
from diptych_serving.service import Drawn, Service

Body = GenerateBody | CompareBody
AnyBody = Body | GridBody
AnyReply = PicturesReply | GridReply


def read(service: Service, body: AnyBody) -> list[ImageRequest]:
    """Return what is to be drawn. Raises Refused."""
    intake = service.directory.intake()
    match body:
        case GridBody():
            return intake.grid(body)
        case CompareBody():
            return [intake.compare(body)]
    return intake.generate(body)


async def answer(service: Service, request: Request, body: Body, *, session: str | None = None) -> PicturesReply:
    """Draw and encode. Raises Refused."""
    started = time.monotonic()
    client = client_from(request, service, body, session)
    drawn = await service.draw(read(service, body), client)
    return await reply(service, body, drawn, started)


async def reply(service: Service, body: Body, drawn: Sequence[Drawn], started: float) -> PicturesReply:
    """Return what was drawn, encoded in a thread."""
    base, grid, name = service.directory.intake().base, isinstance(body, CompareBody) and body.grid, uuid.uuid4().hex
    return await asyncio.to_thread(pictures_reply, name, drawn, base, started, body.format, grid=grid)


async def any_reply(service: Service, body: AnyBody, drawn: Sequence[Drawn], started: float) -> AnyReply:
    """Return what was drawn in the shape of what was asked."""
    if not isinstance(body, GridBody):
        return await reply(service, body, drawn, started)
    base = service.directory.intake().base
    return await asyncio.to_thread(grid_reply, uuid.uuid4().hex, drawn, base, started, body.format)


def client_from(request: Request, service: Service, body: AnyBody, session: str | None = None) -> Client:
    """Return who asks for pictures. Raises Refused for one who may not."""
    return asker(request, service, "generate" if isinstance(body, GenerateBody) else "compare", session)


def asker(request: Request, service: Service, scope: Scope = "generate", session: str | None = None) -> Client:
    """Return who asks. Raises Refused for one who may not."""
    peer = request.client.host if request.client else ""
    return service.directory.client(peer, joined(request.headers.items()), scope, session)
