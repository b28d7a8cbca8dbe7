"""Which samples are held out: disjoint, repeatable, and the same in whatever order samples come."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeVar

from diptych_api.dataset import Split
from diptych_api.errors import DatasetInvalid


class Keyed(Protocol):
    """Anything that is told apart by its picture."""

    @property
    def key(self) -> str:
        """Return the picture's path below the root."""


T = TypeVar("T", bound=Keyed)
NO_GROUPS: Final[Mapping[str, str]] = {}


def order(key: str, seed: int) -> str:
    """Return the sort key of the picture ``key``: the first ones are held out."""
    return hashlib.sha256(f"{seed}/{key}".encode()).hexdigest()


def split(samples: Sequence[T], how: Split, together: Mapping[str, str] = NO_GROUPS) -> tuple[list[T], list[T]]:
    """Return ``(training, held out)``, each sorted by key. All samples of one picture are on one side.

    So are the pictures that have the same name in ``together``, unless ranges part them: a group that would be more
    than is still to be held out is trained on. Counts, shares and ranges are of pictures; ranges index the sorted keys
    and are cut at their end. Samples in neither range are left out. Raises DatasetInvalid for a range that holds no
    picture; that ranges are in order and apart, ``Split`` itself sees to.
    """
    keys = sorted({sample.key for sample in samples})
    if how.train_range is None and how.validation_range is None:
        count = how.count if how.count is not None else math.floor((how.fraction or 0) * len(keys) + 0.5)
        held = _held(keys, how.seed, count, together)
        train = set(keys) - held
    else:
        train, held = _ranges(keys, how)
    ordered = sorted(samples, key=lambda sample: sample.key)
    return [s for s in ordered if s.key in train], [s for s in ordered if s.key in held]


def _held(keys: list[str], seed: int, count: int, together: Mapping[str, str]) -> set[str]:
    groups: dict[str, list[str]] = {}
    for key in sorted(keys, key=lambda key: order(key, seed)):
        groups.setdefault(together.get(key, key), []).append(key)
    held: set[str] = set()
    for group in groups.values():
        if len(held) + len(group) <= count:
            held.update(group)
    return held


def _ranges(keys: list[str], how: Split) -> tuple[set[str], set[str]]:
    train = _cut(keys, "trainRange", how.train_range)
    held = _cut(keys, "validationRange", how.validation_range)
    return (set(keys) - held if how.train_range is None else train), held


def _cut(keys: list[str], name: str, span: tuple[int, int] | None) -> set[str]:
    if span is None:
        return set()
    chosen = set(keys[slice(*span)])
    if not chosen:
        raise DatasetInvalid(
            f"spec.dataset.split.{name}: {list(span)} holds none of the {len(keys)} usable pictures.",
            hint="Lower the range, or look into the list of rejected pictures.",
        )
    return chosen
