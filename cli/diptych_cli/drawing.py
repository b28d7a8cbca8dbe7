"""Drawing pictures from a prompt, on this machine."""

import json
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import typer
from rich.console import Console
from rich.progress import Progress

from diptych_api.after import Evaluation, Scheduler
from diptych_cli.drawing_model import Model, find_model
from diptych_cli.picture_file import write_png
from diptych_cli.sizes import picture_size
from diptych_diffusion.prompts import is_truncated
from diptych_diffusion.sampler import SampleRequest, sample

SEED_BITS = 32


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """What `diptych generate` was asked for; None is the run's setting, or else the usual one."""

    prompt: str
    run: str | None = None
    adapter: Path | None = None
    base: str | None = None
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    size: str | None = None
    count: int = 1
    output: Path | None = None
    as_json: bool = False


def draw(request: DrawRequest) -> None:
    """Draw and write pictures. Raises DiptychError."""
    model = find_model(request.run, request.adapter, request.base, "cuda" if torch.cuda.is_available() else "cpu")
    seed = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
    wanted = _sample_request(request, model, seed)
    if is_truncated(model.components, request.prompt):
        typer.echo(f"note: only the first {model.components.max_tokens - 2} tokens of the prompt count.", err=True)
    with _progress(quiet=request.as_json) as on_step:
        pictures = sample(model.components, wanted, on_step)
    files = []
    for picture, drawn_seed in zip(pictures, wanted.seeds, strict=True):
        path = output_path(request, drawn_seed)
        write_png(path, picture, _record(request, wanted, model, drawn_seed))
        files.append({"file": str(path), "seed": drawn_seed})
        if not request.as_json:
            typer.echo(f"✓ {path} · seed {drawn_seed}")
    if request.as_json:
        typer.echo(json.dumps({"pictures": files, "adapter": model.adapter_digest}))


def output_path(request: DrawRequest, seed: int) -> Path:
    """Return where a picture goes; several pictures have their seeds in their names."""
    if request.output is None:
        words = re.sub(r"[^a-z0-9]+", "-", request.prompt.lower()).strip("-")[:48] or "picture"
        return Path(f"{words}-{seed}.png")
    output = request.output if request.output.suffix else request.output.with_suffix(".png")
    return output if request.count == 1 else output.with_stem(f"{output.stem}-{seed}")


def _sample_request(request: DrawRequest, model: Model, seed: int) -> SampleRequest:
    usual = model.evaluation or Evaluation()
    width, height = picture_size(request.size)
    return SampleRequest(
        prompts=(request.prompt,) * request.count,
        seeds=tuple(seed + index for index in range(request.count)),
        negative_prompts=request.negative,
        steps=request.steps or usual.inference_steps,
        guidance_scale=usual.guidance_scale if request.guidance is None else request.guidance,
        scheduler=cast("Scheduler", request.scheduler or usual.scheduler),
        height=height,
        width=width,
    )


def _record(request: DrawRequest, wanted: SampleRequest, model: Model, seed: int) -> dict[str, str]:
    settings = {
        "steps": wanted.steps,
        "guidance_scale": wanted.guidance_scale,
        "scheduler": wanted.scheduler,
        "size": request.size,
        "base": model.base_name,
        "base_digest": model.components.digest,
    }
    told = {"prompt": request.prompt, "seed": str(seed), "settings": json.dumps(settings)}
    if request.negative:
        told["negative_prompt"] = request.negative
    if model.adapter_digest is not None:
        told["adapter"] = model.adapter_digest
    return told


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show steps on stderr while the body runs, on a terminal."""
    console = Console(file=sys.stderr)
    with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("drawing", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
