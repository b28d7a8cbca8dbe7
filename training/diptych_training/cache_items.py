"""What is encoded for the cache, and the order to do it, which any process can carry out."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diptych_diffusion.loading import loading
from diptych_training.cache_keys import CacheKeys
from diptych_training.data.entry import Entry

MODELS: Final = "diptych_training.cache_encode"
"""Where a process that encodes keeps them."""


@dataclass(frozen=True, slots=True)
class PictureItem:
    """A picture and the key of its latents."""

    key: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class CaptionItem:
    """A caption and the key of its embedding."""

    key: str
    caption: str


Item = PictureItem | CaptionItem


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes chunks of items in whatever process it is called."""

    folder: Path
    keys: CacheKeys
    device: str = "cpu"

    def __call__(self, items: Sequence[Item]) -> bytes:
        """Return a shard with the tensor of each item under its key.

        Raises:
            BaseInvalid: when the base is not the one the keys are made for, or gives numbers that are not finite.
            DatasetInvalid: when a picture changed since the manifest was made.

        """
        with loading():
            from diptych_training.cache_encode import shard_of  # noqa: PLC0415 - whoever sends the order needs no models

        return shard_of(self, items)

    def forget(self) -> None:
        """Let go of the models, if this process loaded any."""
        if (module := sys.modules.get(MODELS)) is not None:
            module.encoders.cache_clear()
