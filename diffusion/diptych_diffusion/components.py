"""The parts of a base, together with the facts that training, sampling and adapters ask about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from diptych_api.errors import BaseInvalid
from diptych_diffusion.base_files import whole_digest


@dataclass(frozen=True, slots=True)
class Components:
    """The parts of a base, in evaluation mode and without gradients; ``unet`` is None where it is yet to be made."""

    unet: UNet2DConditionModel | None
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler_config: Mapping[str, Any]
    folder: Path
    digests: Mapping[str, str]
    """Digest of each part's stored weights, and of the tokenizer's files."""

    @property
    def digest(self) -> str:
        """The name of all stored weights together; the dtype they are loaded in does not change it."""
        return whole_digest(self.digests)

    @property
    def denoiser(self) -> UNet2DConditionModel:
        """The UNet.

        Raises:
            BaseInvalid: when the base has none.

        """
        if self.unet is None:
            raise BaseInvalid(
                f"{self.folder} has no unet.", hint="Train one with method FromScratch, or name another base."
            )
        return self.unet

    @property
    def max_tokens(self) -> int:
        """Tokens that a prompt may have, start and end included; 77 for CLIP."""
        return int(self.text_encoder.config.max_position_embeddings)

    @property
    def embedding_dim(self) -> int:
        """Width of the text embeddings."""
        return int(self.text_encoder.config.hidden_size)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.vae.config.latent_channels)

    @property
    def pixels_per_latent(self) -> int:
        """Pixels along one side of a latent; 8 for Stable Diffusion."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width in pixels that the base was made for."""
        if self.unet is None:
            size, scale = self.vae.config.sample_size, 1
        else:
            size, scale = self.unet.config.sample_size, self.pixels_per_latent
        height, width = (size, size) if isinstance(size, int) else size
        return int(height * scale), int(width * scale)

    def scale_latents(self, latents: Tensor) -> Tensor:
        """Return the VAE's latents as the UNet sees them."""
        scaled: Tensor = (latents - (self.vae.config.shift_factor or 0.0)) * self.vae.config.scaling_factor
        return scaled

    def unscale_latents(self, latents: Tensor) -> Tensor:
        """Return the UNet's latents as the VAE decodes them."""
        unscaled: Tensor = latents / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)
        return unscaled
