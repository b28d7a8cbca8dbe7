"""What is seen in a picture's file: checksum, size, and what filters and the search for duplicates ask for."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

from diptych_api.dataset import PHASH, Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.fingerprint import Fingerprint, fingerprint
from diptych_training.data.picture import decode, read_bytes, rgb
from diptych_training.data.sharpness import sharpness

THREADS: Final = 8
BATCH: Final = 256
Content = bytes | DatasetInvalid
"""Of a file, or why it has none that may be looked at."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a picture."""

    sha256: str
    size: tuple[int, int]
    sharpness: float | None = None
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure beside checksum and size."""

    sharpness_at: int | None
    """The shorter side of the picture whose sharpness is measured, in pixels."""
    fingerprint: bool
    background: str

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Return what a data set's filters and its search for duplicates ask for."""
        side = None if dataset.filters.min_sharpness is None else dataset.image.size
        hashes = dataset.dedup.enabled and dataset.dedup.embedder == PHASH
        return cls(side, hashes, dataset.image.background)

    def look(self, content: Content) -> "Look | DatasetInvalid":
        """Return what a file holds, or why that is no picture."""
        if isinstance(content, DatasetInvalid):
            return content
        try:
            return self._look(content)
        except DatasetInvalid as error:
            return error

    def _look(self, data: bytes) -> Look:
        picture = decode(data)
        sharp, prints = None, None
        if self.fingerprint or self.sharpness_at is not None:
            seen = rgb(picture, self.background)
            sharp = None if self.sharpness_at is None else sharpness(seen, self.sharpness_at)
            prints = fingerprint(seen) if self.fingerprint else None
        return Look(hashlib.sha256(data).hexdigest(), picture.size, sharp, prints)


class Eyes(Protocol):
    """Looks at files, anywhere."""

    at_once: int
    """Files that are handed over together."""

    def __call__(self, asked: Asked, paths: Sequence[Path]) -> Iterable[Look | DatasetInvalid]:
        """Return what each file holds, in their order."""


class Here:
    """Looks at files in this process."""

    at_once = BATCH

    def __call__(self, asked: Asked, paths: Sequence[Path]) -> Iterable[Look | DatasetInvalid]:
        """Return what each file holds, by all cores."""
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
            return list(threads.map(lambda path: asked.look(content_of(path)), paths))


def content_of(path: Path) -> Content:
    """Return the bytes of a picture's file, or why they are not read."""
    try:
        return read_bytes(path)
    except DatasetInvalid as error:
        return error
