"""`diptych generate --server`: the pictures of a server."""

import base64
import json
from typing import Any

import typer

from diptych_api.errors import UserError
from diptych_cli.draw_request import DrawRequest, output_path
from diptych_cli.picture_file import write_bytes
from diptych_cli.server import Server
from diptych_cli.sizes import picture_size
from diptych_cli.step_bar import step_bar


def ask(request: DrawRequest, server: str) -> None:
    """Ask the server, write its pictures. Raises DiptychError."""
    if request.run is not None or request.base is not None:
        raise UserError(
            "--run and --base are of this machine, --server draws with its own base.",
            hint="Name one of its adapters with --adapter.",
        )
    with step_bar(quiet=request.as_json) as on_step:
        answer = Server(server).draw("/v1/generate", _body(request), on_step, needs=("images", "settings"))
    files = []
    for image in answer["images"]:
        path = output_path(request, image["seed"])
        write_bytes(path, base64.b64decode(image["image"]))
        told = {name: image.get(name) for name in ("seed", "adapter", "degraded", "flaw", "flagged")}
        files.append({"file": str(path), **told})
        flagged = "flagged by the safety checker" if image.get("flagged") else None
        notes = "".join(f" · {text}" for text in (image["degraded"], image["flaw"], flagged) if text)
        if not request.as_json:
            typer.echo(f"✓ {path} · seed {image['seed']}{notes}")
    if request.as_json:
        typer.echo(json.dumps({"pictures": files, "adapter": answer["images"][0]["adapter_digest"]}))


def _body(request: DrawRequest) -> dict[str, Any]:
    width, height = picture_size(request.size)
    given = {
        "prompt": request.prompt,
        "adapter": None if request.adapter is None else str(request.adapter),
        "negative_prompt": request.negative or None,
        "seed": request.seed,
        "steps": request.steps,
        "guidance_scale": request.guidance,
        "scheduler": request.scheduler,
        "width": width,
        "height": height if height is not None else width,
        "n": request.count,
    }
    return {name: value for name, value in given.items() if value is not None}
