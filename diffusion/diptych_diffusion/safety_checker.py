"""Which pictures may not be shown: diffusers' own safety checker, when a base comes with one."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from numpy.typing import NDArray
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from diptych_api.errors import BaseInvalid
from diptych_diffusion.base_files import check_config
from diptych_diffusion.model_files import load_model
from diptych_diffusion.safe_files import check_folder, read_json

CHECKER: Final = "safety_checker"
EXTRACTOR: Final = "feature_extractor"
CLASSES: Final = {
    CHECKER: {"StableDiffusionSafetyChecker"},
    EXTRACTOR: {"CLIPFeatureExtractor", "CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"},
}
Pictures = NDArray[np.uint8]
"""``[B, H, W, 3]``."""


class SafetyChecker(Protocol):
    """Anything that can tell which pictures may not be shown."""

    def flag(self, pictures: Pictures) -> Sequence[bool]:
        """Return for each picture whether it may not be shown."""


@dataclass(frozen=True, slots=True)
class StableDiffusionChecker:
    """The checker of Stable Diffusion 1.x: the likeness of a picture to 17 concepts, each with a threshold."""

    model: Any
    extractor: Any

    def flag(self, pictures: Pictures) -> list[bool]:
        """Return for each picture whether it is too much like one of the concepts."""
        inputs = self.extractor(images=list(pictures), return_tensors="pt")["pixel_values"]
        model = self.model
        with torch.inference_mode():
            _, flagged = model(clip_input=inputs.to(model.device, model.dtype), images=list(pictures))
        return [bool(one) for one in flagged]


def load_safety_checker(folder: Path, *, device: torch.device | str = "cpu") -> StableDiffusionChecker | None:
    """Return the checker of the pipeline in a folder, or None when model_index.json names none. It computes in fp32.

    Raises:
        BaseInvalid: for a checker that is named and cannot be trusted to work: a picture must not pass unseen.

    """
    check_folder(folder)
    if not _names_checker(folder / "model_index.json"):
        return None
    model, _ = load_model(folder / CHECKER, StableDiffusionSafetyChecker, torch.float32)
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise BaseInvalid(f"{folder / CHECKER} holds numbers in {name} that are not finite.")
    logging.getLogger(StableDiffusionSafetyChecker.__module__).setLevel(logging.ERROR)  # it tells of black pictures
    checker = StableDiffusionChecker(model.to(device).eval().requires_grad_(False), _load_extractor(folder / EXTRACTOR))
    try:
        checker.flag(np.zeros((1, 64, 64, 3), np.uint8))
    except (RuntimeError, ValueError, TypeError) as cause:
        raise BaseInvalid(f"{folder}: {CHECKER} and {EXTRACTOR} do not belong together: {cause}") from cause
    return checker


def _names_checker(path: Path) -> bool:
    """Return whether model_index.json names a checker. Raises BaseInvalid for one that is not known."""
    index = read_json(path)
    entries = {part: index.get(part) or [None, None] for part in CLASSES}
    if entries[CHECKER] == [None, None]:
        return False
    for part, allowed in CLASSES.items():
        entry = entries[part]
        if not (isinstance(entry, list) and entry[-1:] and entry[-1] in allowed):
            raise BaseInvalid(
                f"{path} gives {entry} as {part}.",
                hint=f"Allowed: {', '.join(sorted(allowed))}; {CHECKER} null serves pictures unchecked.",
            )
    return True


def _load_extractor(place: Path) -> CLIPImageProcessorPil:
    check_config(place / "preprocessor_config.json")
    try:
        extractor: CLIPImageProcessorPil = CLIPImageProcessorPil.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as cause:
        raise BaseInvalid(f"{place} cannot be loaded: {cause}") from cause
    return extractor
