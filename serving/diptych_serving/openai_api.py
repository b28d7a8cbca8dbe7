"""`/v1/images/generations`, as OpenAI's clients ask it, with the settings that diffusion has as extensions."""

import asyncio
import base64
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic import Field

from diptych_serving.answers import answer, client_from, read, reply
from diptych_serving.bodies import AdapterName, Body, GenerateBody, ImageFormat, ImageReply, Strength, Words
from diptych_serving.http_errors import PROBLEMS, openai_error
from diptych_serving.image_request import Preview
from diptych_serving.pictures import encode_picture
from diptych_serving.refusals import Code, Refused, invalid, refusal_of
from diptych_serving.service import Admitted, Service
from diptych_serving.streams import told, with_previews

SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_log = logging.getLogger(__name__)
EVENT: Final = "image_generation"


class ImagesBody(Body):
    """The request of OpenAI's image API."""

    prompt: Words = Field(description="What the picture shows.", examples=["red apple"])
    model: AdapterName | None = Field(default=None, description="An adapter's name, or the base's.")
    n: int | None = Field(default=1, ge=1, le=10, description="Pictures.")
    size: str | None = Field(default=None, max_length=16, description="WIDTHxHEIGHT or auto.", examples=["64x64"])
    response_format: Literal["b64_json", "url"] | None = Field(default=None, description="Only b64_json is there.")
    output_format: ImageFormat | None = Field(default=None, description="How pictures are encoded.")
    stream: bool | None = Field(default=None, description="Answer with events.")
    partial_images: int | None = Field(default=None, ge=0, le=3, description="Previews in a stream.")
    user: str | None = Field(default=None, max_length=256, description="Of no effect.")
    quality: str | None = Field(default=None, max_length=32, description="Of no effect.")
    style: str | None = Field(default=None, max_length=32, description="Of no effect.")
    background: str | None = Field(default=None, max_length=32, description="Of no effect.")
    moderation: str | None = Field(default=None, max_length=32, description="Of no effect.")
    output_compression: int | None = Field(default=None, ge=0, le=100, description="Of no effect.")
    seed: int | None = Field(default=None, ge=0, le=2**53, description="Extension: same seed, same noise.")
    num_inference_steps: int | None = Field(default=None, ge=1, le=1000, description="Extension: sampling steps.")
    guidance_scale: float | None = Field(default=None, ge=0, le=30, description="Extension: weight of the prompt.")
    negative_prompt: Words | None = Field(default=None, description="Extension: what it should not show.")
    lora_scale: Strength | None = Field(default=None, description="Extension: factor of the adapter's update.")


def router(get_service: Callable[[], Service]) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["compatible"])

    @routes.post("/v1/images/generations", response_model=None, responses=PROBLEMS)
    async def generations(
        body: ImagesBody, request: Request, service: Annotated[Service, Depends(get_service)]
    ) -> Response:
        """Draw as OpenAI's clients ask; `model` is an adapter or the base."""
        wanted = generate_body(body, service.directory.intake().base.name)
        if body.stream:
            if wanted.n > 1:
                raise invalid("n", "a stream has one picture.", "Ask for one, or do not stream.")
            client, requests = client_from(request, service, wanted), read(service, wanted)
            partial = body.partial_images or 0
            every = max(1, requests[0].settings.steps // (partial + 1)) if partial else 0
            admitted = await service.admit(with_previews(requests, every), client)
            return EventSourceResponse(_events(admitted, wanted, partial))
        drawn = await answer(service, request, wanted)
        data = [_values(image) for image in _undegraded(drawn.images)]
        size = f"{drawn.settings.width}x{drawn.settings.height}"
        return JSONResponse({"created": int(time.time()), "data": data, "output_format": wanted.format, "size": size})

    return routes


def generate_body(body: ImagesBody, base: str) -> GenerateBody:
    """Return the request as /v1/generate takes it. Raises Refused."""
    if body.response_format == "url":
        raise invalid("response_format", "there are no URLs here.", "Ask for b64_json.")
    width, height = _size(body.size)
    return GenerateBody(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        adapter=None if body.model in (None, base) else body.model,
        strength=body.lora_scale,
        n=body.n or 1,
        seed=body.seed,
        steps=body.num_inference_steps,
        guidance_scale=body.guidance_scale,
        width=width,
        height=height,
        format=body.output_format or "png",
    )


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text in (None, "auto"):
        return None, None
    found = SIZE.fullmatch(text or "")
    if found is None:
        raise invalid("size", f"{text} is no size.", "Write WIDTHxHEIGHT or auto.")
    width, height = int(found[1]), int(found[2])
    for side in (width, height):
        if not 8 <= side <= 4096:  # noqa: PLR2004 - as /v1/generate has it
            raise invalid("size", f"{side} pixels are not between 8 and 4096.")
    return width, height


async def _events(admitted: Admitted, wanted: GenerateBody, partial: int) -> AsyncIterator[bytes]:
    """Yield server-sent events: previews, then the picture, or what went wrong."""
    sent = 0
    try:
        async for item in told(admitted):
            if isinstance(item, list):
                image = _undegraded((await reply(admitted, wanted, item)).images)[0]
                yield _event(f"{EVENT}.completed", **_values(image), output_format=wanted.format)
            elif isinstance(event := item[1], Preview) and sent < partial:
                encoded = await asyncio.to_thread(encode_picture, event.pictures[0], wanted.format)
                picture = base64.b64encode(encoded).decode()
                yield _event(f"{EVENT}.partial_image", b64_json=picture, partial_image_index=sent)
                sent += 1
    except Exception as error:  # noqa: BLE001 -- the answer has begun; the rest of it tells
        if not isinstance(error, Refused):
            _log.exception("A stream failed.")
        yield _event("error", **openai_error(refusal_of(error)))


def _undegraded(images: list[ImageReply]) -> list[ImageReply]:
    """Return the pictures. Raises Refused when the base drew in place of an adapter: OpenAI's reply cannot say so."""
    for image in images:
        if image.degraded is not None:
            raise Refused(Code.UNAVAILABLE, image.degraded, reason="AdapterUnavailable", retry_after_s=5)
    return images


def _values(image: ImageReply) -> dict[str, Any]:
    """Return a picture as OpenAI has it, with two fields more."""
    return {"b64_json": image.image, "seed": image.seed, "flagged": image.flagged}


def _event(kind: str, **values: Any) -> bytes:  # noqa: ANN401 - JSON
    data = json.dumps({"type": kind, "created_at": int(time.time()), **values})
    return format_sse_event(event=kind, data_str=data)
