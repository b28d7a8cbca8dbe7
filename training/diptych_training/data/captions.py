"""Which of a picture's captions is used: the first, each, or one drawn anew every epoch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from diptych_diffusion.draws import seed64
from diptych_training.data.entry import Entry
from diptych_training.data.sample import Sample

T = TypeVar("T", Sample, Entry)


def expand(samples: Sequence[T], policy: str) -> list[T]:
    """Return what one epoch visits: a sample for each caption under All, else one for each picture.

    Under First and All each has one caption; under PerEpoch it keeps all of them, and caption_index chooses.
    """
    if policy == "PerEpoch":
        return list(samples)
    last = 1 if policy == "First" else None
    return [replace(sample, captions=(caption,)) for sample in samples for caption in sample.captions[:last]]


def caption_index(seed: int, epoch: int, key: str, n: int, policy: str) -> int:
    """Return which of the ``n`` captions of picture ``key`` is used in ``epoch``.

    It depends on the arguments only, so it is the same for any number of workers and after a restart.
    """
    if policy != "PerEpoch":
        return 0
    return seed64("caption", seed, epoch, key) * n >> 64
