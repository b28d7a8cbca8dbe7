"""A picture that begins to move: Stable Video Diffusion from a folder, behind an interface for others.

Blattmann et al., arXiv 2311.15127. Shapes: F frames, H and W sides in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from diffusers import StableVideoDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Generator

from diptych_api.errors import BaseInvalid, SpecInvalid
from diptych_diffusion.folder_kinds import INDEX
from diptych_diffusion.model_files import no_progress_bar
from diptych_diffusion.safe_files import check_folder, read_json

PIPELINE: Final = "StableVideoDiffusionPipeline"
CLASSES: Final = {
    "vae": {"AutoencoderKLTemporalDecoder"},
    "image_encoder": {"CLIPVisionModelWithProjection"},
    "unet": {"UNetSpatioTemporalConditionModel"},
    "scheduler": {"EulerDiscreteScheduler"},
    "feature_extractor": {"CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"},
}
DECODED_AT_ONCE: Final = 2
"""Frames; more take more memory and little less time."""
OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Motion:
    """How a picture moves."""

    frames: int = 24
    fps: int = 2
    """Frames a second that the network is told; those that are shown are the caller's."""
    bucket: int = 150
    """How much moves, from 1 to 255."""
    noise: float = 0.03
    """Noise added to the picture before it is looked at; more leaves more freedom."""
    short_side: int = 576
    """Pixels; the other side follows, both cut to what the network can halve."""
    steps: int = 25


class Animator(Protocol):
    """Anything that makes frames of a picture."""

    def __call__(self, picture: Image.Image, motion: Motion, seed: int, on_step: OnStep) -> NDArray[np.uint8]:
        """Return the frames, ``[F, H, W, 3]``; the same seed gives the same."""


@dataclass(frozen=True, slots=True)
class StableVideo:
    """Stable Video Diffusion as diffusers has it."""

    pipeline: Any

    def __call__(self, picture: Image.Image, motion: Motion, seed: int, on_step: OnStep) -> NDArray[np.uint8]:
        """Return the frames. Raises SpecInvalid for a picture that is too small for the network."""
        width, height = self._size(picture, motion.short_side)

        def told(_: object, step: int, __: object, values: dict[str, Any]) -> dict[str, Any]:
            on_step(step + 1, motion.steps)
            return values

        with no_progress_bar():
            frames: NDArray[np.float32] = self.pipeline(
                picture.resize((width, height), Image.Resampling.LANCZOS),
                height=height,
                width=width,
                num_frames=motion.frames,
                fps=motion.fps,
                motion_bucket_id=motion.bucket,
                noise_aug_strength=motion.noise,
                num_inference_steps=motion.steps,
                decode_chunk_size=DECODED_AT_ONCE,
                generator=Generator().manual_seed(seed),
                callback_on_step_end=told,
                output_type="np",
            ).frames[0]
        return (frames * 255).round().astype(np.uint8)

    def _size(self, picture: Image.Image, short_side: int) -> tuple[int, int]:
        """Return width and height."""
        halvings = len(self.pipeline.unet.config.block_out_channels) - 1
        multiple = self.pipeline.vae_scale_factor * 2**halvings
        scale = short_side / min(picture.size)
        width, height = (int(side * scale) // multiple * multiple for side in picture.size)
        if not width or not height:
            raise SpecInvalid(f"A short side of {short_side} pixels is too small.", hint=f"Use {multiple} or more.")
        return width, height


def load_stable_video(folder: Path, *, device: torch.device | str = "cpu") -> StableVideo:
    """Return the pipeline in a folder; in fp16 on a GPU.

    Raises:
        BaseInvalid: for another kind of model, or files that are unsafe or broken.

    """
    check_folder(folder)
    index = read_json(folder / INDEX)
    if index.get("_class_name") != PIPELINE:
        raise BaseInvalid(f"{folder} is a {index.get('_class_name')}.", hint=f"Name the folder of a {PIPELINE}.")
    for part, known in CLASSES.items():
        if (index.get(part) or [None, None])[1] not in known:
            raise BaseInvalid(f"{folder / INDEX}: {part} is {index.get(part)}, not {' or '.join(sorted(known))}.")
    has_full = (folder / "unet" / "diffusion_pytorch_model.safetensors").is_file()
    dtype = torch.float16 if torch.device(device).type == "cuda" else torch.float32
    try:
        with no_progress_bar():
            pipeline = StableVideoDiffusionPipeline.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                variant=None if has_full else "fp16",
            )
    except (OSError, ValueError, RuntimeError, KeyError) as cause:
        raise BaseInvalid(f"{folder} cannot be loaded: {cause}"[:500], hint="Download the folder anew.") from cause
    pipeline.set_progress_bar_config(disable=True)
    return StableVideo(pipeline.to(device))
