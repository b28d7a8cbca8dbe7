"""Drawing for a request of HTTP, whatever its shape."""

import asyncio
import time
import uuid
from collections.abc import Sequence

from fastapi import Request

from diptych_serving.bodies import CompareBody, GenerateBody, PicturesReply
from diptych_serving.identity import joined
from diptych_serving.image_request import ImageRequest
from diptych_serving.keys import Scope
from diptych_serving.rate_limit import Client
from diptych_serving.replies import pictures_reply
from diptych_serving.service import Drawn, Service

Body = GenerateBody | CompareBody


def read(service: Service, body: Body) -> list[ImageRequest]:
    """Return what is to be drawn. Raises Refused."""
    intake = service.directory.intake()
    return [intake.compare(body)] if isinstance(body, CompareBody) else intake.generate(body)


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


def client_from(request: Request, service: Service, body: Body, session: str | None = None) -> Client:
    """Return who asks. Raises Refused for one who may not."""
    peer = request.client.host if request.client else ""
    scope: Scope = "compare" if isinstance(body, CompareBody) else "generate"
    return service.directory.client(peer, joined(request.headers.items()), scope, session)
