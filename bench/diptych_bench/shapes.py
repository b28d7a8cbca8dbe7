"""Bases and adapters of random weights: speed does not depend on what a network has learned.

Text encoder and VAE are small in all of them; what is measured is the UNet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from diptych_api.artifact import BaseRecord
from diptych_api.training import LoRA
from diptych_diffusion.adapter_files import save_diffusers
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.builtin import builtin_folder
from diptych_diffusion.components import Components
from diptych_diffusion.lora import adapter_state, inject
from diptych_diffusion.pipeline import load

RANK: Final = 16
TOKENS: Final = 77
UPDATE: Final = 0.02
"""Standard deviation of B: an adapter that plainly changes the picture."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A UNet of random weights. ``pixels`` is the side of the pictures, eight to a latent."""

    name: str
    pixels: int
    channels: tuple[int, ...]
    text_width: int
    layers: int
    groups: int = 32

    @property
    def unet_config(self) -> Mapping[str, Any]:
        """What UNet2DConditionModel is made with; the innermost level has no attention, as in Stable Diffusion."""
        outer = len(self.channels) - 1
        return {
            "sample_size": self.pixels // 8,
            "block_out_channels": self.channels,
            "cross_attention_dim": self.text_width,
            "layers_per_block": self.layers,
            "norm_num_groups": self.groups,
            "down_block_types": ("CrossAttnDownBlock2D",) * outer + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * outer,
        }


SHAPES: Final = (
    Shape("5.9 M, 128²", 128, (64, 128, 128), 128, 1),
    Shape("54 M, 128²", 128, (80, 160, 320, 320), 192, 2, 16),
    Shape("54 M, 256²", 256, (80, 160, 320, 320), 192, 2, 16),
)
SD15: Final = Shape("SD 1.5's 860 M, 128²", 128, (320, 640, 1280, 1280), 768, 2)
SD15_512: Final = Shape("SD 1.5's 860 M, 512²", 512, (320, 640, 1280, 1280), 768, 2)
TINY: Final = SHAPES[0]


def quieten() -> None:
    """Keep progress bars and advice of the libraries off the screen."""
    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def make_base(folder: Path, shape: Shape) -> Path:
    """Write a complete pipeline of random weights and return its folder."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(builtin_folder("tiny-emoji") / "tokenizer", model_max_length=TOKENS)
    pipeline = StableDiffusionPipeline(
        vae=_vae(shape),
        text_encoder=_text_encoder(shape, tokenizer),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(**shape.unet_config),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer" / name).write_bytes((builtin_folder("tiny-emoji") / "tokenizer" / name).read_bytes())
    return folder


def make_adapter(folder: Path, base: Path, seed: int) -> tuple[AdapterWeights, Path]:
    """Return random weights of rank 16 on q, k, v and out, and diffusers' file of them."""
    components = load(base)
    inject(components.denoiser, LoRA(rank=RANK, alpha=RANK), seed=seed)
    random = torch.Generator().manual_seed(seed)
    state = {
        key: UPDATE * torch.randn(tensor.shape, generator=random) if "lora_B" in key else tensor
        for key, tensor in adapter_state(components.denoiser).items()
    }
    weights = AdapterWeights.of(state, LoRA(rank=RANK, alpha=RANK), _record(components))
    return weights, save_diffusers(folder, weights)


def million_parameters(components: Components) -> float:
    """Return the size of the UNet."""
    count = sum(int(parameter.numel()) for parameter in components.denoiser.parameters())
    return round(count / 1e6, 1)


def _record(components: Components) -> BaseRecord:
    return BaseRecord(source="random", digest=f"sha256:{components.digest}")


def _vae(shape: Shape) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=shape.pixels,
    )


def _text_encoder(shape: Shape, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.text_width,
        intermediate_size=4 * shape.text_width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)
