"""The noise schedulers that draw, all diffusers' own, on the base's own noise schedule."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

import diffusers
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)

from diptych_api.after import Scheduler
from diptych_api.errors import SpecInvalid, UnsupportedHere
from diptych_diffusion.schedule import NoiseSchedule

CLASSES: Final[Mapping[Scheduler, Any]] = {
    "DDIM": DDIMScheduler,
    "PNDM": PNDMScheduler,
    "Euler": EulerDiscreteScheduler,
    "EulerAncestral": EulerAncestralDiscreteScheduler,
    "DPMSolverMultistep": DPMSolverMultistepScheduler,
    "LCM": LCMScheduler,
}


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
    if scheduler.timesteps.max() >= schedule.num_train_timesteps:  # leading spacing with an offset, one step too many
        raise SpecInvalid(f"{name} cannot take {steps} steps with this base.", hint="Use fewer steps.")
    return scheduler


def published_scheduler(config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the base's own class, one of fifteen
    """Return the base's scheduler as it is saved for other programs: it never clips, because latents are not pixels."""
    kind = getattr(diffusers, str(config["_class_name"]))
    own = {"clip_sample": False} if "clip_sample" in inspect.signature(kind).parameters else {}
    return kind.from_config({**config, **own})
