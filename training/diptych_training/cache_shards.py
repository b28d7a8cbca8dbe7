"""Shards of the cache: safetensors files of named tensors, each called by the SHA-256 of its bytes.

A shard is never changed, so any number of runs may share a folder. Its own header lists its keys.
"""

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from diptych_api.errors import CacheCorrupt
from diptych_diffusion.fingerprint import file_digest
from diptych_diffusion.safe_files import ITEM_BYTES, read_header
from diptych_training.run_store_errors import writing
from diptych_training.run_store_local import remove_unfinished, write_file
from diptych_training.run_store_lock import folder_lock

SUFFIX: Final = ".safetensors"
SHARD_NAME: Final = re.compile(rf"[0-9a-f]{{64}}{re.escape(SUFFIX)}")
DTYPES: Final = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
RUN_AGAIN: Final = "Run again: what is missing or damaged is made anew."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in a shard."""

    path: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]

    def read(self, row: int | None = None) -> Tensor:
        """Return the tensor, or one row of its first dimension; only those bytes are read."""
        if row is not None and row >= self.shape[0]:
            raise IndexError(f"the tensor has {self.shape[0]} rows and no row {row}")
        shape = self.shape if row is None else self.shape[1:]
        buffer = bytearray(math.prod(shape) * ITEM_BYTES[self.dtype])
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.offset + (row or 0) * len(buffer))
                count = file.readinto(buffer)
        except OSError as error:
            raise CacheCorrupt(f"Cannot read {self.path}: {error.strerror or error}.", hint=RUN_AGAIN) from error
        if count != len(buffer):
            raise CacheCorrupt(f"{self.path} became shorter while it was in use.", hint=RUN_AGAIN)
        return torch.frombuffer(buffer, dtype=DTYPES[self.dtype]).reshape(shape)


def find(folder: Path, keys: Iterable[str]) -> dict[str, Place]:
    """Return where the tensors are that the folder has; shards that hold any are read and checked.

    A damaged shard is removed, so that its tensors count as missing.
    """
    missing, found = set(keys), dict[str, Place]()
    for path in shards(folder):
        try:
            places = _places(path)
        except (CacheCorrupt, OSError):  # damaged, or removed by another run
            _discard(path)
            continue
        useful = missing & places.keys()
        if useful and _is_whole(path):
            found |= {key: places[key] for key in useful}
            missing -= useful
        elif useful:
            _discard(path)
    return found


def add(folder: Path, data: bytes) -> dict[str, Place]:
    """Keep a shard and return where its tensors are. Raises StoreUnwritable."""
    path = folder / shard_name(data)
    with writing(str(path), is_remote=False), folder_lock(folder, wait=True):
        write_file(path, data)
    return _places(path)


def shard_name(data: bytes) -> str:
    """Return what a shard with these bytes is called."""
    return f"{hashlib.sha256(data).hexdigest()}{SUFFIX}"


def sweep(folder: Path) -> None:
    """Remove what killed writers left: unfinished files exist only while somebody holds the lock."""
    with writing(str(folder), is_remote=False), folder_lock(folder, wait=True):
        remove_unfinished(folder)


def shards(folder: Path) -> list[Path]:
    """Return the shards of a folder by name; none where there is no folder."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if SHARD_NAME.fullmatch(path.name))


def _places(path: Path) -> dict[str, Place]:
    header = read_header(path, error=CacheCorrupt)
    tensors = {key: entry for key, entry in header.items() if key != "__metadata__"}
    start = path.stat().st_size - max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    return {
        key: Place(path, start + entry["data_offsets"][0], entry["dtype"], tuple(entry["shape"]))
        for key, entry in tensors.items()
    }


def _is_whole(path: Path) -> bool:
    try:
        return file_digest(path) == path.stem
    except OSError:
        return False


def _discard(path: Path) -> None:
    """Remove a shard, unless another run has put a good one in its place by now."""
    with writing(str(path), is_remote=False), folder_lock(path.parent, wait=True):
        if not _is_whole(path):
            path.unlink(missing_ok=True)
