"""Counter-based randomness: every draw is a pure function of what it is for.

A draw is keyed by parts such as (run seed, epoch, sample key, name of the draw). Process, world size, order of calls
and hash seed play no role, so a resumed run and a run on more workers draw the same numbers. Bits come from BLAKE2b
and Philox 4x64 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), which no version may change.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator, Philox
from torch import Tensor

Part = str | int


def seed64(*parts: Part) -> int:
    """Return 64 bits that depend on every part; ``1`` and ``"1"`` differ, as do ``("a", "b")`` and ``("ab",)``."""
    key = json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def noise(shape: Sequence[int], *parts: Part) -> Tensor:
    """Return standard normal numbers, float32 on the CPU."""
    values = Generator(_philox("noise", parts)).standard_normal(tuple(shape), dtype=np.float32)
    return torch.from_numpy(values)


def timestep(count: int, *parts: Part) -> int:
    """Return one of ``0 … count - 1``, all equally likely."""
    return seed64("timestep", *parts) * count >> 64


def uniform(*parts: Part) -> float:
    """Return a number in [0, 1)."""
    return (seed64("uniform", *parts) >> 11) / (1 << 53)


def permutation(count: int, *parts: Part) -> list[int]:
    """Return ``0 … count - 1`` in random order: the order of an epoch."""
    keys = _philox("permutation", parts).random_raw(count)
    return [int(index) for index in np.argsort(keys, kind="stable")]


def _philox(kind: str, parts: tuple[Part, ...]) -> Philox:
    return Philox(key=seed64(kind, *parts))
