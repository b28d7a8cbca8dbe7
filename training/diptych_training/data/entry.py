"""What a prepared data set is made of, and whether its pictures are still the same."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych_api.dataset import Image
from diptych_api.errors import DatasetInvalid
from diptych_training.data.filters import Dropped
from diptych_training.data.picture import decode, fit, read_bytes
from diptych_training.data.sample import Rejected


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture that was decoded once, with the checksum of its file."""

    key: str
    path: Path
    captions: tuple[str, ...]
    sha256: str
    size: tuple[int, int] | None = None
    """Width and height in pixels, upright; None in manifests of earlier versions."""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What else the layout tells of it, such as its class."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The pictures a run learns from, those it never sees, those it cannot use, and those it shall not."""

    root: Path
    train: tuple[Entry, ...]
    held_out: tuple[Entry, ...]
    rejected: tuple[Rejected, ...]
    digest: str
    """Changes with any picture, caption or side of the split, and with nothing else."""
    dropped: tuple[Dropped, ...] = ()


def digest_of(train: Sequence[Entry], held_out: Sequence[Entry]) -> str:
    """Return the SHA-256 over key, checksum, captions and side of every entry; order does not matter."""
    sides = [("train", entry) for entry in train] + [("validation", entry) for entry in held_out]
    lines = sorted(json.dumps([entry.key, entry.sha256, entry.captions, side]) for side, entry in sides)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def verify(entry: Entry) -> bytes:
    """Return the picture file's contents. Raises DatasetInvalid where they are not what was prepared."""
    try:
        data = read_bytes(entry.path)
    except DatasetInvalid as error:
        raise _changed(entry, error.message) from error
    now = hashlib.sha256(data).hexdigest()
    if now != entry.sha256:
        raise _changed(entry, f"its checksum was {entry.sha256} and is {now}")
    return data


def read_entry(entry: Entry, image: Image) -> NDArray[np.uint8]:
    """Return the unchanged picture as uint8 ``[H, W, 3]``. Raises DatasetInvalid where it changed."""
    return fit(decode(verify(entry)), image)


def _changed(entry: Entry, how: str) -> DatasetInvalid:
    return DatasetInvalid(
        f"The picture {entry.path} changed after the data set was prepared: {how}.",
        hint="Put the old file back, or start a new run with the pictures as they are.",
    )
