"""Which samples are held out: disjoint, repeatable, and the same in whatever order samples come."""

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from diptych_api.dataset import Split
from diptych_api.errors import DatasetInvalid, SpecInvalid


class Keyed(Protocol):
    """Anything that is told apart by its picture."""

    @property
    def key(self) -> str:
        """Return the picture's path below the root."""


T = TypeVar("T", bound=Keyed)


def order(key: str, seed: int) -> str:
    """Return the sort key of the picture ``key``: the first ones are held out."""
    return hashlib.sha256(f"{seed}/{key}".encode()).hexdigest()


def split(samples: Sequence[T], how: Split) -> tuple[list[T], list[T]]:
    """Return ``(training, held out)``, each sorted by key. All samples of one picture are on one side.

    Counts, shares and ranges are of pictures; ranges index the sorted keys and are cut at their end. Samples in
    neither range are left out. Raises SpecInvalid or DatasetInvalid for ranges that cannot be meant.
    """
    keys = sorted({sample.key for sample in samples})
    if how.train_range is None and how.validation_range is None:
        count = how.count if how.count is not None else math.floor((how.fraction or 0) * len(keys) + 0.5)
        held = set(sorted(keys, key=lambda key: order(key, how.seed))[:count])
        train = set(keys) - held
    else:
        train, held = _ranges(keys, how)
    ordered = sorted(samples, key=lambda sample: sample.key)
    return [s for s in ordered if s.key in train], [s for s in ordered if s.key in held]


def _ranges(keys: list[str], how: Split) -> tuple[set[str], set[str]]:
    spans = {"trainRange": how.train_range, "validationRange": how.validation_range}
    chosen: dict[str, set[str]] = {}
    for name, span in spans.items():
        if span is not None and not 0 <= span[0] <= span[1]:
            raise SpecInvalid(
                f"spec.dataset.split.{name}: {list(span)} is no range.",
                hint="Give the first index, from 0, and the one past the end.",
            )
        chosen[name] = set(keys[slice(*span)]) if span is not None else set()
        if span is not None and span[0] < span[1] and not chosen[name]:
            raise DatasetInvalid(
                f"spec.dataset.split.{name}: {list(span)} holds none of the {len(keys)} usable pictures.",
                hint="Lower the range, or look into the list of rejected pictures.",
            )
    if how.train_range and how.validation_range and _overlap(how.train_range, how.validation_range):
        raise SpecInvalid(
            f"spec.dataset.split: trainRange {list(how.train_range)} and validationRange "
            f"{list(how.validation_range)} overlap.",
            hint="A held-out picture must never be trained on: make them disjoint.",
        )
    if how.train_range is None:
        return set(keys) - chosen["validationRange"], chosen["validationRange"]
    return chosen["trainRange"], chosen["validationRange"]


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return max(a[0], b[0]) < min(a[1], b[1])
