"""From what is chosen on the page to a request."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from diptych_serving.page.pictures import BASE
from diptych_serving.page.problem import Problem

STRONGEST: Final = 2.0
PREVIEWS: Final = 6
HAS_ETA: Final = "DDIM"
SEED_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Form:
    """What is chosen. Sides are base, noto, or noto:0.5; ``factor`` is for those that name no strength."""

    prompt: str
    sides: Sequence[str]
    factor: float
    seed: str
    steps: int
    guidance: float
    scheduler: str
    eta: float
    width: int
    height: int
    negative: str
    template: str | None


def compare_body(form: Form, strengths: Mapping[str, float]) -> dict[str, Any]:
    """Return the request; ``strengths`` are the adapters' own. Raises Problem."""
    body: dict[str, Any] = {"prompt": form.prompt, "arms": [_arm(side, form.factor, strengths) for side in form.sides]}
    if not form.prompt.strip():
        raise _wrong("prompt", "there is nothing to draw. Say what the picture shows.")
    if not form.sides:
        raise _wrong("arms", "none is chosen. Choose one or more.")
    if form.negative.strip():
        body["negative_prompt"] = form.negative
    if form.template:
        body["template"] = form.template
    if form.seed.strip():
        body["seed"] = _seed(form.seed)
    body |= {"steps": int(form.steps), "guidance_scale": round(float(form.guidance), 2), "scheduler": form.scheduler}
    if form.scheduler == HAS_ETA and form.eta:
        body["eta"] = round(float(form.eta), 2)
    return body | {"width": int(form.width), "height": int(form.height)}


def streamed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same request, answered with events: a handful of previews on the way."""
    return {**body, "stream": True, "preview_every": math.ceil(body["steps"] / PREVIEWS)}


def _arm(side: str, factor: float, strengths: Mapping[str, float]) -> dict[str, Any]:
    name, _, written = side.strip().partition(":")
    if name == BASE:
        return {}
    if written:
        return {"adapter": name, "strength": _strength(side, written)}
    if factor == 1 or name not in strengths:
        return {"adapter": name}
    return {"adapter": name, "strength": round(max(-STRONGEST, min(STRONGEST, strengths[name] * factor)), 3)}


def _strength(side: str, written: str) -> float:
    try:
        strength = float(written)
    except ValueError:
        strength = math.nan
    if not abs(strength) <= STRONGEST:
        raise _wrong("arms", f"{side} is no side. Write a strength from -2 to 2, as in noto:0.5.")
    return strength


def _seed(text: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= SEED_DIGITS):
        raise _wrong("seed", f"{digits[:40]} is no seed. Write a whole number, or nothing for a new one.")
    return int(digits)


def _wrong(field: str, message: str) -> Problem:
    return Problem(422, f"{field}: {message}", errors=((field, message),))
