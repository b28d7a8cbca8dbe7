"""Aspect buckets: shapes of about the same number of pixels, and batches of pictures of one shape."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar

from diptych_api.dataset import AspectBuckets, Image
from diptych_api.errors import DatasetInvalid

T = TypeVar("T")
Shape = tuple[int, int]
"""Width and height in pixels."""


@lru_cache(maxsize=16)
def shapes(size: int, buckets: AspectBuckets) -> tuple[Shape, ...]:
    """Return the shapes of at most ``size`` × ``size`` pixels: for each side the longest other one, both ways round."""
    step = buckets.step
    sides = range(step, int(size * buckets.max_aspect) + 1, step)
    pairs = ((wide, size * size // wide // step * step) for wide in sides)
    fitting = {pair for pair in pairs if min(pair) > 0 and max(pair) <= buckets.max_aspect * min(pair)}
    return tuple(sorted(fitting | {(high, wide) for wide, high in fitting} | {(size, size)}))


@lru_cache(maxsize=4096)
def shape_of(picture: Shape, image: Image) -> Shape:
    """Return the shape that a picture of this size is brought to: of the nearest aspect, then of the most pixels."""
    if image.aspect_buckets is None:
        return (image.size, image.size)
    own = Fraction(*picture)

    def distance(shape: Shape) -> tuple[Fraction, int]:
        ratio = own / Fraction(*shape)
        return max(ratio, 1 / ratio), -shape[0] * shape[1]

    return min(shapes(image.size, image.aspect_buckets), key=distance)


def shapes_of(pictures: Sequence[Shape | None], image: Image | None) -> list[Shape] | None:
    """Return the shape for each of these sizes; None where all are squares. Raises DatasetInvalid."""
    if image is None or image.aspect_buckets is None:
        return None
    sizes = [size for size in pictures if size is not None]
    if len(sizes) < len(pictures):
        raise DatasetInvalid(
            "The data set's manifest does not tell the sizes of its pictures, which aspect buckets need.",
            hint="It is of an earlier version: give the job another name, so that it is prepared anew.",
        )
    return [shape_of(size, image) for size in sizes]


def counted(found: Iterable[Shape]) -> str:
    """Return a sentence on how many pictures have which shape, the most frequent first."""
    counts = Counter(found).most_common()
    return f"Pictures by shape: {', '.join(f'{wide}×{high} {count:,}' for (wide, high), count in counts)}."


def grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return the items in groups of the same key, groups and items in the order in which they come."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class Blocks:
    """The visits of one epoch, cut where the steps are."""

    first: list[int]
    """Completes the step that the epoch before began."""
    whole: list[list[int]]
    """A step each."""
    last: list[int]
    """Begins the step that the next epoch completes."""

    @classmethod
    def of(cls, groups: Sequence[Sequence[int]], batch_size: int, begun: int) -> "Blocks":
        """Return blocks of one group each as far as possible; ``begun`` visits belong to a step that has begun."""
        total = sum(map(len, groups))
        whole = [
            list(group[start : start + batch_size])
            for group in groups
            for start in range(0, len(group) - batch_size + 1, batch_size)
        ]
        rest = [index for group in groups for index in group[len(group) // batch_size * batch_size :]]
        begun = min(begun, total)
        steps = (total - begun) // batch_size
        while len(whole) > steps:  # one at most: its visits complete the step before and begin the next
            rest += whole.pop()
        first, rest = rest[:begun], rest[begun:]
        mixed = [rest[start : start + batch_size] for start in range(0, len(rest) - batch_size + 1, batch_size)]
        return cls(first, whole + mixed, rest[len(rest) // batch_size * batch_size :])

    def __len__(self) -> int:
        """Return the number of whole steps."""
        return len(self.whole)

    def in_order(self, order: Iterable[int]) -> list[int]:
        """Return all visits, the whole steps in this order."""
        return [*self.first, *(index for place in order for index in self.whole[place]), *self.last]
