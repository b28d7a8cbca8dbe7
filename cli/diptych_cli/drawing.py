"""Drawing pictures from a prompt, on this machine."""

import json
import secrets
from typing import cast

import torch
import typer

from diptych_api.after import Evaluation, Scheduler
from diptych_cli.draw_request import DrawRequest, output_path
from diptych_cli.drawing_model import Model, find_model
from diptych_cli.picture_file import write_png
from diptych_cli.sizes import picture_size
from diptych_cli.step_bar import step_bar
from diptych_diffusion.prompts import is_truncated
from diptych_diffusion.sampler import SampleRequest, sample

SEED_BITS = 32


def draw(request: DrawRequest) -> None:
    """Draw and write pictures. Raises DiptychError."""
    model = find_model(request.run, request.adapter, request.base, "cuda" if torch.cuda.is_available() else "cpu")
    seed = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
    wanted = _sample_request(request, model, seed)
    if is_truncated(model.components, request.prompt):
        typer.echo(f"note: only the first {model.components.max_tokens - 2} tokens of the prompt count.", err=True)
    with step_bar(quiet=request.as_json) as on_step:
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
