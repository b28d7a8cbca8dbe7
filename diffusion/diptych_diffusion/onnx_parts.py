"""The networks of a model as graphs: what goes in, what comes out, and which sides are free.

Names are those of diffusers' and Optimum's ONNX pipelines. Shapes: B rows, L tokens, D text encoder width, C latent
channels, h and w sides in latents, H and W in pixels; T is 1 or B.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Generator, Tensor, nn
from torch.export import Dim

from diptych_diffusion.components import Components

TIMESTEPS: Final = 1000
UNET_PREFIX: Final = "unet."
"""Before the names of the UNet's layers in its graph."""
MOST_TRACED: Final = 63
"""Rows up to which diffusers' networks take one path; beyond, they only copy what is in memory already. A graph that
was traced below serves any number, but torch traces twice when it is not told."""


@dataclass(frozen=True, slots=True)
class Size:
    """Rows and sides of latents that a graph is tried with."""

    rows: int
    height: int
    width: int
    one_timestep: bool = False
    """The timestep is given once for all rows, as most pipelines do, and not once for each."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A network that becomes one file."""

    name: str
    """The folder that it is written to."""
    config: str
    """The folder of the base whose config.json describes it."""
    network: nn.Module
    """Takes tensors in the order of ``inputs`` and returns one."""
    inputs: tuple[str, ...]
    output: str
    free: tuple[dict[int, Any], ...]
    """Of each input, the axes that may have any length, by torch's names for them."""
    draw: Callable[[Size, Generator], tuple[Tensor, ...]]
    """Makes inputs of a size at random."""


class _TextEncoder(nn.Module):
    def __init__(self, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, ids_BL: Tensor) -> Tensor:
        embeddings_BLD: Tensor = self.text_encoder(ids_BL)[0]
        return embeddings_BLD


class _Denoiser(nn.Module):
    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents_BChw: Tensor, t_T: Tensor, embeddings_BLD: Tensor) -> Tensor:
        """Take one timestep for all rows or one for each: a graph cannot ask which, but no row reads past the last."""
        rows_B = torch.arange(latents_BChw.shape[0], device=t_T.device)
        t_B = t_T[torch.minimum(rows_B, torch.full_like(rows_B, t_T.shape[0] - 1))]
        prediction_BChw: Tensor = self.unet(latents_BChw, t_B, embeddings_BLD, return_dict=False)[0]
        return prediction_BChw


class _Decoder(nn.Module):
    def __init__(self, vae: Any) -> None:  # noqa: ANN401 - diffusers' classes are not seen by mypy
        super().__init__()
        self.vae = vae

    def forward(self, latents_BChw: Tensor) -> Tensor:
        picture_B3HW: Tensor = self.vae.decode(latents_BChw, return_dict=False)[0]
        return picture_B3HW


def parts_of(components: Components) -> tuple[Part, ...]:
    """Return text encoder, UNet and VAE decoder, in the order in which a picture meets them."""
    return _text_encoder(components), unet_part(components), _vae_decoder(components)


def latent_step(components: Components) -> int:
    """Return what sides of latents must be multiples of: the UNet halves them, and doubles them again."""
    return int(2 ** (len(components.denoiser.config.block_out_channels) - 1))


def pixel_step(components: Components) -> int:
    """Return what height and width of pictures must be multiples of."""
    return latent_step(components) * components.pixels_per_latent


def example(components: Components) -> Size:
    """Return the size with which graphs are traced: no side is 1 or like another, which torch would take for a rule."""
    step = latent_step(components)
    return Size(2, 4 * step, 3 * step)


def sizes(components: Components) -> tuple[Size, ...]:
    """Return the sizes at which graphs are compared: the base's own, and odd ones, none of them the example's."""
    step = latent_step(components)
    height, width = (pixels // pixel_step(components) * step for pixels in components.picture_size)
    return (
        Size(2, max(height, step), max(width, step)),
        Size(1, 2 * step, 3 * step),
        Size(3, 3 * step, 2 * step, one_timestep=True),
        Size(5, 2 * step, 4 * step),
    )


def _text_encoder(components: Components) -> Part:
    tokens, vocabulary = components.max_tokens, int(components.text_encoder.config.vocab_size)

    def draw(size: Size, random: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(vocabulary, (size.rows, tokens), generator=random, dtype=torch.int32),)

    network = _TextEncoder(components.text_encoder)
    free = ({0: Dim("batch")},)
    return Part("text_encoder", "text_encoder", network, ("input_ids",), "last_hidden_state", free, draw)


def unet_part(components: Components) -> Part:
    """Return the UNet alone."""
    channels, tokens, width = components.latent_channels, components.max_tokens, components.embedding_dim

    def draw(size: Size, random: Generator) -> tuple[Tensor, ...]:
        return (
            torch.randn(size.rows, channels, size.height, size.width, generator=random),
            torch.rand(1 if size.one_timestep else size.rows, generator=random) * TIMESTEPS,
            torch.randn(size.rows, tokens, width, generator=random),
        )

    batch, step = Dim("batch", max=MOST_TRACED), latent_step(components)
    sides = {2: step * Dim("h"), 3: step * Dim("w")} if step > 1 else {2: Dim("h"), 3: Dim("w")}
    return Part(
        "unet",
        "unet",
        _Denoiser(components.denoiser),
        ("sample", "timestep", "encoder_hidden_states"),
        "out_sample",
        ({0: batch, **sides}, {0: Dim("timesteps")}, {0: batch}),
        draw,
    )


def _vae_decoder(components: Components) -> Part:
    channels = components.latent_channels

    def draw(size: Size, random: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(size.rows, channels, size.height, size.width, generator=random),)

    free = ({0: Dim("batch", max=MOST_TRACED), 2: Dim("h"), 3: Dim("w")},)
    return Part("vae_decoder", "vae", _Decoder(components.vae), ("latent_sample",), "sample", free, draw)
