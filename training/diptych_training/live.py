"""Pictures encoded when they are asked for, each time anew: what the cache would give, without its folder.

C latent channels, h and w latent sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from diptych_api.dataset import Image
from diptych_diffusion.components import Components
from diptych_training.cache_encode import finite, posterior
from diptych_training.data.entry import Entry, Manifest, read_entry
from diptych_training.data.picture import to_tensor


class Latents(Protocol):
    """Where batches find their pictures."""

    def latent(self, picture_sha256: str, flipped: bool = False) -> tuple[Tensor, Tensor]:  # noqa: FBT001, FBT002 -- data, not a mode
        """Return mean and log-variance ``[C, h, w]``, unscaled, of a picture or its mirror."""


@dataclass(frozen=True, slots=True)
class LiveLatents:
    """Reads and encodes a picture at every visit, on the device of the VAE."""

    components: Components
    image: Image
    entries: Mapping[str, Entry]

    @classmethod
    def of(cls, components: Components, manifest: Manifest, image: Image, device: torch.device) -> Self:
        """Return what encodes the pictures of a run; the VAE moves to ``device``."""
        components.vae.to(device)
        return cls(components, image, {entry.sha256: entry for entry in (*manifest.train, *manifest.held_out)})

    @torch.no_grad()
    def latent(self, picture_sha256: str, flipped: bool = False) -> tuple[Tensor, Tensor]:  # noqa: FBT001, FBT002 -- as above
        """Return mean and log-variance ``[C, h, w]`` on the CPU.

        Raises:
            DatasetInvalid: when a picture changed since the manifest was made.

        """
        entry = self.entries[picture_sha256]
        picture_CHW = to_tensor(read_entry(entry, self.image)).to(self.components.vae.device)
        encoded = posterior(self.components, picture_CHW.flip(-1) if flipped else picture_CHW)
        mean, logvar = finite(encoded, f"the picture {entry.path}")
        return mean, logvar
