"""What the engine is asked for, and what it tells while it draws."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych_diffusion.drawing_settings import Settings

UNIT_PIXELS = 512 * 512
Picture = NDArray[np.uint8]
"""``[H, W, 3]``."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison: an adapter and its strength, or the base."""

    adapter: str | None = None
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The same prompt and noise, drawn by each arm."""

    prompt: str
    seed: int
    settings: Settings
    negative_prompt: str = ""
    arms: tuple[Arm, ...] = (Arm(),)
    preview_every: int = 0
    """Steps between previews; 0 for none."""
    is_followed: bool = True
    """Whether somebody listens to its progress, which costs a message for each step."""

    @property
    def rows(self) -> int:
        """Rows of each forward pass, over all arms."""
        return len(self.arms) * self.settings.rows

    @property
    def work_units(self) -> float:
        """Rows times steps, in pictures of 512 × 512 pixels."""
        return self.rows * self.settings.steps * self.settings.height * self.settings.width / UNIT_PIXELS


@dataclass(frozen=True, slots=True)
class Image:
    """A finished picture. ``flaw`` says what is wrong with it, when it came out black or not as numbers.

    One that the safety checker ``flagged`` is a tile of one colour.
    """

    picture: Picture
    adapter_digest: str | None
    flaw: str | None = None
    flagged: bool = False
    checked: bool = False
    """Whether a safety checker looked at it."""
    adapter_identity: str | None = None
    """What of the adapter it depends on, as AdapterFacts tell it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds in the queue, encoding the prompt, in the steps, decoding."""

    queue_s: float
    encode_s: float
    denoise_s: float
    decode_s: float
    is_cached: bool = False
    """Whether the pictures were kept from an earlier request."""

    @property
    def drawing_s(self) -> float:
        """Seconds of work: all but the queue."""
        return self.encode_s + self.denoise_s + self.decode_s


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done, of all arms together."""

    step: int
    total: int


@dataclass(frozen=True, slots=True)
class Preview:
    """How each arm looks by now."""

    step: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The pictures, in the order of the arms."""

    images: tuple[Image, ...]
    timing: Timing


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there are no pictures."""

    error: Exception


Event = Progress | Preview | Finished | Failed
OnEvent = Callable[[Event], None]
"""Called on the engine's thread, so it must return at once."""
