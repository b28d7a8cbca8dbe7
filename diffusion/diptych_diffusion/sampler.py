"""Pictures from prompts and seeds, equal to those of an unmodified Stable Diffusion pipeline.

Shapes: B pictures, C latent channels; H and W, h and w: height and width in pixels and in latents; N prompts,
L tokens, D text encoder width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diptych_api.after import Scheduler
from diptych_api.errors import SpecInvalid
from diptych_diffusion.components import Components
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.drawings import advance, begin
from diptych_diffusion.prompts import encode

DECODED_AT_ONCE: Final = 4
OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Pictures to draw: one per prompt, each from its own seed; height and width default to the base's own."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    negative_prompts: str | tuple[str, ...] = ""
    steps: int = 30
    guidance_scale: float = 7.5
    scheduler: Scheduler = "DDIM"
    eta: float = 0.0
    height: int | None = None
    width: int | None = None
    max_rows: int = 16

    @property
    def negatives(self) -> tuple[str, ...]:
        """The negative prompt of each picture."""
        given = self.negative_prompts
        return (given,) * len(self.prompts) if isinstance(given, str) else given

    def settings(self, components: Components) -> Settings:
        """Return how each picture is drawn with this base."""
        height, width = components.picture_size
        return Settings(
            height=self.height or height,
            width=self.width or width,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
            eta=self.eta,
        )

    def batches(self, rows_each: int) -> "list[SampleRequest]":
        """Return the request in parts of at most ``max_rows`` rows, one picture at the least."""
        at_once = max(1, self.max_rows // rows_each)
        return [
            replace(
                self,
                prompts=self.prompts[start : start + at_once],
                seeds=self.seeds[start : start + at_once],
                negative_prompts=self.negatives[start : start + at_once],
            )
            for start in range(0, len(self.prompts), at_once)
        ]


def sample(components: Components, request: SampleRequest, on_step: OnStep | None = None) -> NDArray[np.uint8]:
    """Return pictures ``[B, H, W, 3]``.

    Modules are in evaluation mode meanwhile and left as they were found. ``on_step`` hears of steps done and steps
    in all, and may raise to stop.

    Raises:
        SpecInvalid: for a request that contradicts itself or the base.
        UnsupportedHere: for a scheduler that cannot follow the base's noise schedule.

    """
    return decode(components, sample_latents(components, request, on_step))


def sample_latents(components: Components, request: SampleRequest, on_step: OnStep | None = None) -> Tensor:
    """Return the finished latents ``[B, C, h, w]`` float32 on the base's device: `sample` before decoding."""
    _check(components, request)
    batches = request.batches(request.settings(components).rows)
    finished = []
    with torch.inference_mode(), evaluating(components.denoiser, components.text_encoder):
        for index, batch in enumerate(batches):

            def tell(done: int, steps: int, before: int = index) -> None:
                if on_step is not None:
                    on_step(before * steps + done, len(batches) * steps)

            finished.append(_denoise(components, batch, tell))
        return torch.cat(finished)


def decode(components: Components, latents_BChw: Tensor, at_once: int = DECODED_AT_ONCE) -> NDArray[np.uint8]:
    """Return the pictures ``[B, H, W, 3]`` of finished latents, ``at_once`` at a time to bound memory."""
    vae = components.vae
    pictures = []
    with torch.inference_mode(), evaluating(vae):
        for part_BChw in latents_BChw.split(at_once):
            decoded_B3HW = vae.decode(components.unscale_latents(part_BChw).to(vae.dtype), return_dict=False)[0]
            unit_B3HW = (decoded_B3HW.float() / 2 + 0.5).clamp(0, 1)
            pictures.append((unit_B3HW * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu())
        return torch.cat(pictures).numpy()


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode and leave every submodule as it was found."""
    found = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, was_training in found:
            part.training = was_training


def _denoise(components: Components, batch: SampleRequest, tell: OnStep) -> Tensor:
    settings = batch.settings(components)
    prompts = [
        (avoided, prompt)[-settings.rows :] for avoided, prompt in zip(batch.negatives, batch.prompts, strict=True)
    ]
    different = list(dict.fromkeys(text for pair in prompts for text in pair))
    embeddings_NLD = encode(components, different).to(components.denoiser.device)
    drawings = [
        begin(components, settings, embeddings_NLD[[different.index(text) for text in pair]], seed)[0]
        for pair, seed in zip(prompts, batch.seeds, strict=True)
    ]
    steps = drawings[0].steps
    for done in range(1, steps + 1):
        advance(components.denoiser, drawings)
        tell(done, steps)
    return torch.cat([drawing.latents_1Chw for drawing in drawings])


def _check(components: Components, request: SampleRequest) -> None:
    pictures = len(request.prompts)
    if not pictures or not pictures == len(request.seeds) == len(request.negatives):
        raise SpecInvalid(
            f"{pictures} prompts, {len(request.negatives)} negative prompts and {len(request.seeds)} seeds.",
            hint="Give one seed for each prompt, and one negative prompt for all or for each.",
        )
    settings = request.settings(components)
    for name, pixels in (("height", settings.height), ("width", settings.width)):
        if pixels < 1 or pixels % components.pixels_per_latent:
            raise SpecInvalid(f"{name} is {pixels} pixels.", hint=f"Use a multiple of {components.pixels_per_latent}.")
    if request.eta and request.scheduler != "DDIM":
        raise SpecInvalid(f"eta is {request.eta}, which {request.scheduler} does not know.", hint="Use DDIM, or eta 0.")
