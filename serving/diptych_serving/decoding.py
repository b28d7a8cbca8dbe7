"""From latents to pictures that may be shown: decoded, looked at, and checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from diptych_api.limits import Safety
from diptych_diffusion.components import Components
from diptych_diffusion.held import Held
from diptych_diffusion.out_of_memory import in_pieces
from diptych_diffusion.safety_checker import SafetyChecker
from diptych_diffusion.sampler import DECODED_AT_ONCE, decode
from diptych_serving.image_request import Image, Picture
from diptych_serving.pictures import tile

DARKEST: Final = 2


@dataclass
class Decoder:
    """Decodes with the base's VAE. ``safety`` may be set from any thread; it counts from the next picture on."""

    components: Components
    checker: SafetyChecker | None = None
    """None where every picture may be shown."""
    safety: Safety = field(default_factory=Safety)

    def previews(self, latents_AChw: Tensor) -> tuple[Picture, ...]:
        """Return how pictures look by now; what the checker flags is a tile here too."""
        pictures = self._decoded(latents_AChw)
        return self._shown(pictures, self._flags(pictures)[0])

    def images(self, latents_AChw: Tensor, adapters: Sequence[Held | None]) -> tuple[Image, ...]:
        """Return the finished pictures, each with what is wrong with it."""
        pictures = self._decoded(latents_AChw)
        flags, checked = self._flags(pictures)
        flaws = [find_flaw(*pair) for pair in zip(latents_AChw, pictures, strict=True)]
        digests = [None if adapter is None else adapter.digest for adapter in adapters]
        identities = [None if adapter is None else adapter.identity for adapter in adapters]
        parts = zip(
            self._shown(pictures, flags), digests, flaws, flags, [checked] * len(flags), identities, strict=True
        )
        return tuple(Image(*part) for part in parts)

    def _decoded(self, latents_AChw: Tensor) -> Picture:
        pictures, _ = in_pieces(DECODED_AT_ONCE, lambda most: decode(self.components, latents_AChw, most), "decoding")
        return pictures

    def _flags(self, pictures: Picture) -> tuple[Sequence[bool], bool]:
        """Return which pictures may not be shown, and whether the checker looked."""
        if self.checker is None or not self.safety.enabled:
            return [False] * len(pictures), False
        return self.checker.flag(pictures), True

    def _shown(self, pictures: Picture, flags: Sequence[bool]) -> tuple[Picture, ...]:
        height, width = pictures.shape[1:3]
        stand_in = tile(height, width, self.safety.replacement)
        return tuple(stand_in if flag else picture for picture, flag in zip(pictures, flags, strict=True))


def find_flaw(latents_Chw: Tensor, picture: Picture) -> str | None:
    """Return what is wrong with a picture, as a black one from a VAE in half precision, or None."""
    if not bool(torch.isfinite(latents_Chw).all()):
        return "The picture did not come out as numbers (NaN); try fp32 or another adapter strength."
    if int(picture.max()) <= DARKEST:
        return "The picture came out black; try fp32."
    return None
