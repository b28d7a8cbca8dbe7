"""Near-duplicates: groups of pictures that look the same, of which one is kept."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from diptych_api.dataset import Dedup
from diptych_api.errors import DatasetInvalid
from diptych_training.data.buckets import grouped
from diptych_training.data.class_folders import CLASS
from diptych_training.data.entry import Entry
from diptych_training.data.filters import Dropped
from diptych_training.data.fingerprint import BITS, COLOUR_TOLERANCE, Fingerprint, farthest
from diptych_training.data.neighbours import Indices, Pairs, Sets, close_hashes

RULE: Final = "duplicate"


@dataclass(frozen=True, slots=True)
class Copy:
    """A picture that looks like the one that is kept, and how far it is from it, in words."""

    entry: Entry
    distance: str


@dataclass(frozen=True, slots=True)
class Group:
    """The picture of a group that is kept: the one with the most pixels, of these the first by path; and the others."""

    kept: Entry
    copies: tuple[Copy, ...]

    def dropped(self) -> Iterator[Dropped]:
        """Yield why the others are left out."""
        for copy in self.copies:
            yield Dropped(copy.entry.key, RULE, f"looks like {self.kept.key}: {copy.distance}", self.kept.key)


class Likeness(Protocol):
    """Tells which of N pictures look the same."""

    def pairs(self, among: Indices) -> Iterator[Pairs]:
        """Yield pairs of places in ``among`` whose pictures look the same."""

    def distance(self, one: int, other: int) -> str:
        """Return in words how far two of the N pictures are from each other."""


class ByHash:
    """Pictures look the same whose hashes differ in few bits, and whose colours in no field differ much."""

    def __init__(self, prints: Sequence[Fingerprint], threshold: float) -> None:
        self.bits = np.array([each.bits for each in prints], np.uint64)
        self.colours = np.frombuffer(b"".join(each.colours for each in prints), np.uint8).reshape(len(prints), -1)
        self.farthest = farthest(threshold)

    def pairs(self, among: Indices) -> Iterator[Pairs]:
        """Yield pairs of places in ``among`` whose pictures look the same."""
        colours = self.colours[among].astype(np.int16)
        for left, right in close_hashes(self.bits[among], self.farthest):
            alike = np.abs(colours[left] - colours[right]).max(1, initial=0) <= COLOUR_TOLERANCE
            yield left[alike], right[alike]

    def distance(self, one: int, other: int) -> str:
        """Return the number of bits that differ."""
        return f"{int(np.bitwise_count(self.bits[one] ^ self.bits[other]))} of {BITS} bits differ"


def find_groups(entries: Sequence[Entry], likeness: Likeness, settings: Dedup) -> list[Group]:
    """Return the groups among these pictures, each in its scope, in the order of their first pictures.

    A group is what is joined by pairs: the first and the last of a row of pictures that each look like the next are in
    one. Raises DatasetInvalid where the scope is the class and pictures have none.
    """
    sets = Sets(len(entries))
    for scope in _scopes(entries, settings):
        among = np.array(scope, np.intp)
        for left, right in likeness.pairs(among):
            sets.join((among[left], among[right]))
    return [_group(entries, members, likeness) for members in sets.groups()]


def without_copies(entries: Iterable[Entry], groups: Iterable[Group]) -> list[Entry]:
    """Return the entries that are kept."""
    copies = {copy.entry.key for group in groups for copy in group.copies}
    return [entry for entry in entries if entry.key not in copies]


def together(groups: Iterable[Group]) -> dict[str, str]:
    """Return the name of its group for every picture of these groups."""
    return {entry.key: group.kept.key for group in groups for entry in (group.kept, *(c.entry for c in group.copies))}


def _scopes(entries: Sequence[Entry], settings: Dedup) -> list[list[int]]:
    if settings.scope == "Global":
        return [list(range(len(entries)))]
    without = next((entry for entry in entries if CLASS not in entry.metadata), None)
    if without is not None:
        raise DatasetInvalid(
            f"spec.dataset.dedup.scope: Class, but {without.key} has no class.",
            hint="Use layout ClassFolders, or a column called class; or scope: Global.",
        )
    return grouped(range(len(entries)), lambda index: entries[index].metadata[CLASS])


def _group(entries: Sequence[Entry], members: Sequence[int], likeness: Likeness) -> Group:
    kept, *others = sorted(members, key=lambda index: (-_pixels(entries[index]), entries[index].key))
    return Group(entries[kept], tuple(Copy(entries[other], likeness.distance(kept, other)) for other in others))


def _pixels(entry: Entry) -> int:
    width, height = entry.size or (0, 0)
    return width * height
