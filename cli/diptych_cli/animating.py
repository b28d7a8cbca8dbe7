"""Making a picture move, on this machine."""

import io
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base as Exif

from diptych_api.errors import DatasetInvalid, UserError
from diptych_cli.drawing import SEED_BITS
from diptych_cli.picture_file import write_bytes
from diptych_cli.step_bar import step_bar
from diptych_diffusion.video import Animator, Motion, load_stable_video
from diptych_training.data.picture import decode, read_bytes, rgb

FORMS: Final = {".webp": "WEBP", ".gif": "GIF", ".png": "PNG"}


@dataclass(frozen=True, slots=True)
class AnimateRequest:
    """What `diptych animate` was asked for."""

    picture: Path
    model: Path
    motion: Motion
    seed: int | None
    output: Path
    force: bool = False
    as_json: bool = False


def animate(request: AnimateRequest) -> None:
    """Write the moving picture. Raises DiptychError."""
    form = FORMS.get(request.output.suffix.lower())
    if form is None:
        raise UserError(
            f"{request.output} is no {', '.join(FORMS)}.", hint="Write a .png, of which ffmpeg makes other forms."
        )
    picture = _read(request.picture)
    if request.output.exists() and (not request.force or request.output.samefile(request.picture)):
        raise UserError(f"{request.output} exists.", hint="Choose another -o, or replace it with --force.")
    animator: Animator = load_stable_video(request.model, device="cuda" if torch.cuda.is_available() else "cpu")
    seed = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
    with step_bar(quiet=request.as_json) as on_step:
        frames = animator(picture, request.motion, seed, on_step)
    told = {"picture": request.picture.name, "model": request.model.name, "seed": seed, **asdict(request.motion)}
    write_bytes(request.output, _encoded(frames, form, request.motion.fps, told))
    if request.as_json:
        typer.echo(json.dumps({"file": str(request.output), "seed": seed}))
    else:
        typer.echo(f"✓ {request.output} · {len(frames)} frames · seed {seed}")


def _read(path: Path) -> Image.Image:
    try:
        return rgb(decode(read_bytes(path)), "white")
    except DatasetInvalid as error:
        raise UserError(f"{path}: {error.message}.", hint="Name a picture.") from error


def _encoded(frames: NDArray[np.uint8], form: str, fps: int, told: dict[str, Any]) -> bytes:
    """Return the file, which plays again and again and says how it was made."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    exif = Image.Exif()
    exif[Exif.ImageDescription] = json.dumps(told)
    how: dict[str, Any] = {"comment": json.dumps(told)} if form == "GIF" else {"exif": exif}
    how |= {"quality": 90} if form == "WEBP" else {}
    content = io.BytesIO()
    first.save(content, form, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, **how)
    return content.getvalue()
