"""Pictures and captions to what the cache keeps, by the VAE and the text encoder of a base.

Each is encoded alone, so that a tensor's bits depend on its key only and not on what else was missing.
Shapes: V variants (plain, flipped), C latent channels, h and w latent sides, L tokens, D text width.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from diptych_api.dataset import Image
from diptych_api.errors import BaseInvalid
from diptych_diffusion import prompts
from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_training.cache_items import CaptionItem, Encoder, Item
from diptych_training.cache_keys import CacheKeys
from diptych_training.data.entry import read_entry
from diptych_training.data.picture import to_tensor
from diptych_training.out_of_memory import memory_named


@lru_cache(maxsize=1)
def encoders(folder: Path, device: str) -> Components:
    """Return the base without its UNet, in fp32; a process that encodes many chunks loads it once."""
    return load(folder, device=device, need_unet=False)


def shard_of(encoder: Encoder, items: Sequence[Item]) -> bytes:
    """Return the shard that an encoder makes of items. Raises what it says."""
    components, keys = encoders(encoder.folder, encoder.device), encoder.keys
    if CacheKeys.of(components.digests, keys.latent.image) != keys:
        raise BaseInvalid(f"{encoder.folder} holds other weights than when the run began.", hint="Start the run again.")
    with memory_named("encoding pictures", "Lower spec.dataset.image.size, or use a machine with more memory."):
        return save({item.key: _encoded(components, item, keys.latent.image) for item in items})


@torch.no_grad()
def _encoded(components: Components, item: Item, image: Image) -> Tensor:
    if isinstance(item, CaptionItem):
        return finite(prompts.encode(components, [item.caption])[0], f"the caption {item.caption!r:.200}")
    picture_CHW = to_tensor(read_entry(item.entry, image)).to(components.vae.device)
    variants = [picture_CHW, picture_CHW.flip(-1)] if image.horizontal_flip else [picture_CHW]
    return finite(torch.stack([posterior(components, v) for v in variants]), f"the picture {item.entry.path}")


def posterior(components: Components, picture_CHW: Tensor) -> Tensor:
    """Return mean and log-variance as the VAE gives them, unscaled, ``[2, C, h, w]``."""
    drawn_from = components.vae.encode(picture_CHW[None]).latent_dist
    return torch.cat([drawn_from.mean, drawn_from.logvar])


def finite(tensor: Tensor, what: str) -> Tensor:
    """Return the tensor in fp32 on the CPU. Raises BaseInvalid, naming ``what`` it encodes, when it is not finite."""
    if not torch.isfinite(tensor).all():
        raise BaseInvalid(f"The base turns {what} into numbers that are not finite.", hint="Check the base's weights.")
    return tensor.float().cpu().contiguous()
