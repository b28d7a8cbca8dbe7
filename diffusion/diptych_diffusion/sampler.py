"""Pictures from prompts and seeds, equal to those of an unmodified Stable Diffusion pipeline.

Shapes: B pictures, R rows of one UNet call (2 B with guidance: negative prompts, then prompts), C latent channels,
H and W, h and w: height and width in pixels and in latents; L tokens, D text encoder width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from diptych_api.after import Scheduler
from diptych_api.errors import SpecInvalid, UnsupportedHere
from diptych_diffusion.components import Components
from diptych_diffusion.prompts import encode
from diptych_diffusion.schedule import NoiseSchedule

CLASSES: Final[Mapping[Scheduler, Any]] = {
    "DDIM": DDIMScheduler,
    "PNDM": PNDMScheduler,
    "Euler": EulerDiscreteScheduler,
    "EulerAncestral": EulerAncestralDiscreteScheduler,
    "DPMSolverMultistep": DPMSolverMultistepScheduler,
    "LCM": LCMScheduler,
}
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
    def is_guided(self) -> bool:
        """Whether a picture costs two rows; at guidance 1 and below the negative prompt has no weight."""
        return self.guidance_scale > 1

    @property
    def negatives(self) -> tuple[str, ...]:
        """The negative prompt of each picture."""
        given = self.negative_prompts
        return (given,) * len(self.prompts) if isinstance(given, str) else given

    def batches(self) -> "list[SampleRequest]":
        """Return the request in parts of at most ``max_rows`` rows, one picture at the least."""
        at_once = max(1, self.max_rows // (2 if self.is_guided else 1))
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
    batches = request.batches()
    finished = []
    with torch.inference_mode(), evaluating(components.denoiser, components.text_encoder):
        for index, batch in enumerate(batches):

            def tell(done: int, steps: int, before: int = index) -> None:
                if on_step is not None:
                    on_step(before * steps + done, len(batches) * steps)

            finished.append(_denoise(components, batch, tell))
        return torch.cat(finished)


def decode(components: Components, latents_BChw: Tensor) -> NDArray[np.uint8]:
    """Return the pictures ``[B, H, W, 3]`` of finished latents, a few at a time to bound memory."""
    vae = components.vae
    pictures = []
    with torch.inference_mode(), evaluating(vae):
        for part_BChw in latents_BChw.split(DECODED_AT_ONCE):
            decoded_B3HW = vae.decode(components.unscale_latents(part_BChw).to(vae.dtype), return_dict=False)[0]
            unit_B3HW = (decoded_B3HW.float() / 2 + 0.5).clamp(0, 1)
            pictures.append((unit_B3HW * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu())
        return torch.cat(pictures).numpy()


def make_scheduler(config: Mapping[str, Any], name: Scheduler, steps: int) -> Any:  # noqa: ANN401 - six classes, no common base
    """Return a fresh diffusers scheduler set to ``steps``, on the base's own noise schedule and spacing.

    Schedulers keep state: one object serves one batch that moves in step, or one picture. Latents are never clipped
    unless the base asks for it; the classes' own default would ruin them.
    """
    schedule = NoiseSchedule.from_config(config)
    if schedule.zero_terminal_snr and name == "PNDM":
        raise UnsupportedHere("PNDM cannot start where a zero-terminal-SNR base starts.", hint="Use DDIM or Euler.")
    if schedule.prediction_type == "sample" and name in {"PNDM", "EulerAncestral"}:
        raise UnsupportedHere(f"{name} cannot sample from a base that predicts the picture itself.", hint="Use DDIM.")
    own = {"skip_prk_steps": True} if name == "PNDM" else {}
    scheduler = CLASSES[name].from_config({"clip_sample": False, **config, **own})
    limit = scheduler.config.original_inference_steps if name == "LCM" else schedule.num_train_timesteps
    if not 1 <= steps <= limit:
        raise SpecInvalid(f"{name} takes 1 to {limit} steps with this base, not {steps}.")
    scheduler.set_timesteps(steps)
    return scheduler


def starting_noise(components: Components, generators: Sequence[Generator], size_HW: tuple[int, int]) -> Tensor:
    """Return standard normal latents ``[B, C, h, w]`` float32 on the base's device, one CPU generator a picture."""
    side = components.pixels_per_latent
    shape = (components.latent_channels, size_HW[0] // side, size_HW[1] // side)
    drawn_BChw = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    return drawn_BChw.to(components.denoiser.device)


def predict(
    unet: UNet2DConditionModel, latents_BChw: Tensor, t: Tensor, embeddings_RLD: Tensor, guidance_scale: float
) -> Tensor:
    """Return the UNet's prediction ``[B, C, h, w]`` float32; guided when there are two rows of embeddings a picture.

    Classifier-free guidance (Ho and Salimans, arXiv 2207.12598); the first half of the rows are negative prompts.
    """
    rows_each = len(embeddings_RLD) // len(latents_BChw)
    inputs_RChw = torch.cat([latents_BChw] * rows_each).to(unet.dtype)
    output_RChw: Tensor = unet(inputs_RChw, t, encoder_hidden_states=embeddings_RLD.to(unet.dtype), return_dict=False)[
        0
    ]
    if rows_each == 1:
        return output_RChw.float()
    avoided_BChw, wanted_BChw = output_RChw.float().chunk(2)
    return avoided_BChw + guidance_scale * (wanted_BChw - avoided_BChw)


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
    scheduler = make_scheduler(components.scheduler_config, batch.scheduler, batch.steps)
    generators = [Generator().manual_seed(seed) for seed in batch.seeds]
    noise_BChw = starting_noise(components, generators, _size(components, batch))
    embeddings_RLD = _embed(components, (*(batch.negatives if batch.is_guided else ()), *batch.prompts))
    extra: dict[str, Any] = {} if batch.scheduler == "PNDM" else {"generator": generators}
    if batch.scheduler == "DDIM":
        extra["eta"] = batch.eta
    latents_BChw: Tensor = noise_BChw * scheduler.init_noise_sigma
    for done, t in enumerate(scheduler.timesteps, start=1):
        inputs_BChw = scheduler.scale_model_input(latents_BChw, t)
        prediction_BChw = predict(components.denoiser, inputs_BChw, t, embeddings_RLD, batch.guidance_scale)
        latents_BChw = scheduler.step(prediction_BChw, t, latents_BChw, return_dict=False, **extra)[0]
        tell(done, len(scheduler.timesteps))
    return latents_BChw


def _embed(components: Components, prompts: Sequence[str]) -> Tensor:
    """Return the embeddings of all prompts, each different one encoded once."""
    different = list(dict.fromkeys(prompts))
    embeddings_NLD = encode(components, different)
    return embeddings_NLD[[different.index(prompt) for prompt in prompts]]


def _size(components: Components, request: SampleRequest) -> tuple[int, int]:
    height, width = components.picture_size
    return request.height or height, request.width or width


def _check(components: Components, request: SampleRequest) -> None:
    pictures = len(request.prompts)
    if not pictures or not pictures == len(request.seeds) == len(request.negatives):
        raise SpecInvalid(
            f"{pictures} prompts, {len(request.negatives)} negative prompts and {len(request.seeds)} seeds.",
            hint="Give one seed for each prompt, and one negative prompt for all or for each.",
        )
    for name, pixels in zip(("height", "width"), _size(components, request), strict=True):
        if pixels < 1 or pixels % components.pixels_per_latent:
            raise SpecInvalid(f"{name} is {pixels} pixels.", hint=f"Use a multiple of {components.pixels_per_latent}.")
    if request.eta and request.scheduler != "DDIM":
        raise SpecInvalid(f"eta is {request.eta}, which {request.scheduler} does not know.", hint="Use DDIM, or eta 0.")
