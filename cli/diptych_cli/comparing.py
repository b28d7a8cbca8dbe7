"""Comparing base and adapters on a server."""

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from diptych_api.errors import UserError
from diptych_cli.picture_file import write_bytes
from diptych_cli.server import Server
from diptych_cli.sizes import picture_size
from diptych_cli.step_bar import step_bar

BASE: Final = "base"


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """What `diptych compare` was asked for; None is the server's setting."""

    prompt: str
    server: str
    arms: str | None
    size: str | None
    settings: Mapping[str, Any]
    output: Path | None = None
    as_json: bool = False


def compare(request: CompareRequest) -> None:
    """Ask the server, write the picture, say what it shows. Raises DiptychError."""
    width, height = picture_size(request.size)
    given = {**request.settings, "width": width, "height": height if height is not None else width}
    body: dict[str, Any] = {"prompt": request.prompt, "grid": True, **{k: v for k, v in given.items() if v is not None}}
    if request.arms is not None:
        body["arms"] = parse_arms(request.arms)
    with step_bar(quiet=request.as_json) as on_step:
        answer = Server(request.server).draw("/v1/compare", body, on_step, needs=("images", "grid", "timing", "base"))
    path = request.output or Path(f"{_words(request.prompt)}-{answer['images'][0]['seed']}.png")
    path = path if path.suffix else path.with_suffix(".png")
    write_bytes(path, base64.b64decode(answer["grid"]))
    if request.as_json:
        images = [{k: v for k, v in image.items() if k != "image"} for image in answer["images"]]
        typer.echo(json.dumps({**answer, "grid": str(path), "images": images}))
    else:
        _tell(answer, path)


def parse_arms(text: str) -> list[dict[str, Any]]:
    """Return the sides of `base,noto,noto:0.5`. Raises UserError."""
    return [_arm(part.strip()) for part in text.split(",")]


def _arm(text: str) -> dict[str, Any]:
    name, _, strength = text.partition(":")
    if not name or (name == BASE and strength):
        raise UserError(f"--arms: {text or 'nothing'} is no side.", hint="Write base, noto or noto:0.5, with commas.")
    if name == BASE:
        return {}
    if not strength:
        return {"adapter": name}
    try:
        factor = float(strength)
    except ValueError:
        factor = math.nan
    if not math.isfinite(factor):
        raise UserError(f"--arms: {strength} is no strength.", hint="Write noto:0.5.")
    return {"adapter": name, "strength": factor}


def _tell(answer: Mapping[str, Any], path: Path) -> None:
    timing, base = answer["timing"], answer["base"]
    for image in answer["images"]:
        side = image["adapter"] or BASE
        side += f":{image['strength']:g}" if image["strength"] not in (None, 1) else ""
        notes = [text for text in (image["degraded"], image["flaw"]) if text]
        notes += ["flagged by the safety checker"] if image.get("flagged") else []
        typer.echo(f"{side:16} seed {image['seed']}{''.join(f' · {note}' for note in notes)}")
    seconds = timing["total_ms"] / 1000
    typer.echo(f"✓ {path} · {base['name']} · {timing['steps']} steps, {timing['rows']} rows at once · {seconds:.1f} s")


def _words(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48] or "compare"
