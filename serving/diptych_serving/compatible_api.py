"""Paths of earlier systems, as their clients ask them: `/infer` and `/generate/`."""

import base64
import secrets
import time
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from diptych_serving.answers import answer
from diptych_serving.bodies import ArmBody, CompareBody, GenerateBody, ImageReply, SettingsReply, Words
from diptych_serving.http_errors import PROBLEMS
from diptych_serving.identity import joined, session_of
from diptych_serving.pictures import encode_picture, tile
from diptych_serving.refusals import Code, Refused, invalid
from diptych_serving.service import Service

MOST_DIGITS = 16
MISSING_TILE = "#1e1e1e"
FLAGGED_TILE = "#3c3c3c"
APPLIED, NOT_FOUND = "LoRA applied successfully.", "LoRA not found or failed to load."
FLAGGED_WARNING = "The picture was flagged as NSFW."
FLAGGED, BASE_FLAGGED = "LoRA image flagged as NSFW.", "Base image flagged as NSFW."


class LenientBody(BaseModel):
    """A request of an earlier system: numbers may be strings, unknown fields are left alone."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class InferBody(LenientBody):
    """The request of /infer."""

    prompt: Words = Field(description="What the pictures show.")
    steps: int = Field(default=30, ge=1, le=1000, description="Sampling steps.")
    scale: float = Field(default=7.5, ge=0, le=30, description="Weight of the prompt.")
    height: int | None = Field(default=None, ge=8, le=4096, description="Height in pixels.")
    width: int | None = Field(default=None, ge=8, le=4096, description="Width in pixels.")
    seed: int | str | None = Field(default=None, description="A number, also as text; drawn when empty.")
    eta: float = Field(default=0, ge=0, le=1, description="Noise that DDIM adds.")
    session_id: str | None = Field(default=None, max_length=128, description="Name of the session.")


class InferReply(BaseModel):
    """The reply of /infer."""

    base_image: str = Field(description="The base's picture, a PNG in base64.")
    lora_image: str = Field(description="The adapter's picture, or a dark tile.")
    status: str = Field(description="Whether the adapter drew.")
    duration: float = Field(description="Seconds.")
    session_id: str = Field(description="Name of the session.")


class OldGenerateBody(LenientBody):
    """The request of /generate/."""

    prompt: Words = Field(description="What the picture shows.")
    model_type: str = Field(default="fine-tuned", max_length=32, description="original or fine-tuned.")
    num_inference_steps: int = Field(default=30, ge=1, le=1000, description="Sampling steps.")
    guidance_scale: float = Field(default=7.5, ge=0, le=30, description="Weight of the prompt.")
    seed: int | str = Field(default=42, description="A number, also as text; below 0 for a drawn one.")


def router(get_service: Callable[[], Service]) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["compatible"])
    TheService = Annotated[Service, Depends(get_service)]

    @routes.post("/infer", responses=PROBLEMS)
    async def infer(body: InferBody, request: Request, service: TheService) -> InferReply:
        """Draw with the base and the first adapter."""
        started = time.monotonic()
        first = _first_adapter(service)
        session = session_of(joined(request.headers.items()), body.session_id) or f"sid-{secrets.token_hex(8)}"
        drawn = await answer(service, request, _compare_body(body, first), session=session)
        lora_image, status = _lora_side(drawn.images[-1], drawn.settings)
        return InferReply(
            base_image=drawn.images[0].image,
            lora_image=lora_image,
            status=f"{status} {BASE_FLAGGED}" if drawn.images[0].flagged else status,
            duration=round(time.monotonic() - started, 3),
            session_id=session,
        )

    @routes.post("/generate/", response_class=Response, responses={**PROBLEMS, 200: {"content": {"image/png": {}}}})
    async def generate(body: OldGenerateBody, request: Request, service: TheService) -> Response:
        """Draw with the base (`original`) or the first adapter (`fine-tuned`); answers with a PNG."""
        kind = _kind(body.model_type)
        adapter = None if kind == "original" else _first_adapter(service)
        if kind == "fine-tuned" and adapter is None:
            raise Refused(Code.UNAVAILABLE, "The fine-tuned model is not loaded.", "Add an adapter.")
        wanted = GenerateBody(
            prompt=body.prompt,
            adapter=adapter,
            steps=body.num_inference_steps,
            guidance_scale=body.guidance_scale,
            seed=_seed(body.seed),
        )
        drawn = (await answer(service, request, wanted)).images[0]
        if drawn.degraded:
            raise Refused(Code.UNAVAILABLE, drawn.degraded, "Ask for model_type original meanwhile.")
        warning = FLAGGED_WARNING if drawn.flagged else drawn.flaw
        headers = {"X-Seed": str(drawn.seed)} | ({"X-Warning": warning} if warning else {})
        return Response(base64.b64decode(drawn.image), media_type="image/png", headers=headers)

    return routes


def _compare_body(body: InferBody, adapter: str | None) -> CompareBody:
    return CompareBody(
        prompt=body.prompt,
        steps=body.steps,
        guidance_scale=body.scale,
        height=body.height,
        width=body.width,
        seed=_seed(body.seed),
        eta=body.eta,
        scheduler="DDIM",
        arms=[ArmBody()] if adapter is None else [ArmBody(), ArmBody(adapter=adapter)],
    )


def _first_adapter(service: Service) -> str | None:
    adapters = service.directory.intake().config.adapters
    return adapters[0].name if adapters else None


def _kind(text: str) -> Literal["original", "fine-tuned"]:
    match text:
        case "original" | "fine-tuned":
            return text
    raise Refused(Code.BAD_REQUEST, f"model_type: {text} is unknown.", "Use original or fine-tuned.")


def _seed(given: int | str | None) -> int | None:
    """Return the seed, or None for one that is to be drawn. Raises Refused."""
    text = "" if given is None else str(given).strip()
    if not text or text.startswith("-"):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > MOST_DIGITS or not digits.isascii() or not digits.isdecimal() or int(digits) > 2**53:
        raise invalid("seed", "this is no seed.", "Use a whole number up to 2^53.")
    return int(digits)


def _lora_side(tuned: ImageReply, settings: SettingsReply) -> tuple[str, str]:
    """Return the adapter's picture, or the tile that stands for it, and how it went."""
    if tuned.adapter is None:
        return _tile(settings, MISSING_TILE), NOT_FOUND
    return (_tile(settings, FLAGGED_TILE), FLAGGED) if tuned.flagged else (tuned.image, APPLIED)


def _tile(settings: SettingsReply, colour: str) -> str:
    return base64.b64encode(encode_picture(tile(settings.height, settings.width, colour))).decode()
