"""Perceptual hashes: 64 bits of a picture's shapes, and its colours in sixteen fields.

The bits say which of the 8 × 8 lowest frequencies of the discrete cosine transform of the picture, at 32 × 32 grey
pixels, are above their median (pHash, Zauner 2010). They are blind to colour: a red heart and a blue one have the same.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import PIL.Image

SIDE: Final = 32
LOW: Final = 8
BITS: Final = LOW * LOW
FIELDS: Final = 4
COLOUR_TOLERANCE: Final = 16
"""By how much of 255 the mean blue-yellow or red-green of a field may differ between copies."""
_BASIS: Final = np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(LOW), 2 * np.arange(SIDE) + 1))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is left of a picture to find copies of it."""

    bits: int
    colours: bytes


def fingerprint(picture: PIL.Image.Image) -> Fingerprint:
    """Return the fingerprint of an RGB picture."""
    small = picture.resize((SIDE, SIDE), PIL.Image.Resampling.LANCZOS, reducing_gap=2)
    luma, *chroma = np.moveaxis(np.asarray(small.convert("YCbCr"), np.float64), 2, 0)
    low = (_BASIS @ luma @ _BASIS.T).ravel()
    bits = int.from_bytes(np.packbits(low > np.median(low)).tobytes())
    across = SIDE // FIELDS
    means = np.stack(chroma).reshape(2, FIELDS, across, FIELDS, across).mean((2, 4))
    return Fingerprint(bits, np.rint(means).astype(np.uint8).tobytes())


def cosine_of(distance: int) -> float:
    """Return the cosine that this number of differing bits stands for.

    A bit is the side of a plane on which the picture's vector lies; two vectors at an angle are on different sides of
    the share angle / π of random planes (Charikar 2002), so that cosine = cos(π · distance / 64).
    """
    return math.cos(math.pi * distance / BITS)


def farthest(threshold: float) -> int:
    """Return the largest number of differing bits whose cosine is above ``threshold``; equal hashes always count."""
    return max((d for d in range(BITS // 2) if cosine_of(d) > threshold), default=0)
