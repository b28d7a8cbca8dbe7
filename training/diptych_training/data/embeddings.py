"""Vectors of pictures by a network whose weights are given: pictures that look the same point the same way.

Each is computed once, alone and by the content of its file, and kept in the shards of a cache.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from diptych_api.dataset import Dedup, Image
from diptych_api.errors import DatasetInvalid
from diptych_training.cache import fill, inline
from diptych_training.cache_items import Item, PictureItem
from diptych_training.data.entry import Entry, read_entry
from diptych_training.data.neighbours import Indices, Pairs, close_vectors
from diptych_training.vision.networks import Embedder, embedder

FIELD: Final = "spec.dataset.dedup.embedder"
FOLDER: Final = "embeddings"
VERSION: Final = 1
SQUARE: Final = Image(size=256)
"""What a network is shown: the middle of a picture; the network makes it smaller."""


class ByVector:
    """Pictures look the same whose vectors have a cosine above the threshold."""

    def __init__(self, vectors_ND: NDArray[np.float32], threshold: float) -> None:
        self.vectors_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        self.threshold = threshold

    def pairs(self, among: Indices) -> Iterator[Pairs]:
        """Yield pairs of places in ``among`` whose pictures look the same."""
        return close_vectors(self.vectors_ND[among], self.threshold)

    def distance(self, one: int, other: int) -> str:
        """Return the cosine."""
        return f"cosine {float(self.vectors_ND[one] @ self.vectors_ND[other]):.4f}"


def by_network(
    entries: Sequence[Entry], settings: Dedup, workdir: Path, report: Callable[[int, int], None]
) -> ByVector:
    """Return what tells likeness by the network that the settings name: CLIP, DINOv2 or Inception v3.

    Raises:
        SpecInvalid: when its folder cannot be used.
        DatasetInvalid: when a picture changed meanwhile, or has no direction.

    """
    digest = _network(settings.embedder).network.digest
    keys = [_key(entry, digest) for entry in entries]
    items = {key: PictureItem(key, entry) for key, entry in zip(keys, entries, strict=True)}
    places = fill(workdir / FOLDER, list(items.values()), Embed(settings.embedder), inline, report)
    vectors_ND = np.array([places[key].read().numpy() for key in keys], np.float32).reshape(len(keys), -1)
    return ByVector(vectors_ND, settings.threshold)


@dataclass(frozen=True, slots=True)
class Embed:
    """Gives chunks of pictures their vectors in whatever process it is called."""

    location: str

    def __call__(self, items: Sequence[Item]) -> bytes:
        """Return a shard with the vector of each picture under its key. Raises DatasetInvalid."""
        pictures = [item for item in items if isinstance(item, PictureItem)]
        vectors_ND = _network(self.location).features(read_entry(item.entry, SQUARE) for item in pictures)
        return save({item.key: _checked(vector, item.entry) for item, vector in zip(pictures, vectors_ND, strict=True)})


@lru_cache(maxsize=1)
def _network(location: str) -> Embedder:
    return embedder(location, "cuda" if torch.cuda.is_available() else "cpu", field=FIELD)


def _checked(vector_D: NDArray[np.float64], entry: Entry) -> torch.Tensor:
    length = float(np.linalg.norm(vector_D))
    if not 0 < length < np.inf:
        raise DatasetInvalid(f"The network of {FIELD} gives {entry.path} no direction.", hint="Check its weights.")
    return torch.from_numpy(vector_D.astype(np.float32))


def _key(entry: Entry, digest: str) -> str:
    return hashlib.sha256(f"embedding {VERSION} {digest} {entry.sha256}".encode()).hexdigest()
