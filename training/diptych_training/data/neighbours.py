"""Exact near neighbours: every pair of hashes within so many bits, every pair of vectors above a cosine.

Memory is bounded: N numbers for hashes, and one block of products for vectors. D is the length of a vector.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Pairs = tuple[Indices, Indices]
"""Indices of the left and of the right ones."""
BITS: Final = 64
MANY_PARTS: Final = 8
"""Parts of fewer bits leave so many pairs that comparing all is as fast."""
ROWS, COLUMNS = 1024, 8192


def close_hashes(hashes: NDArray[np.uint64], farthest: int) -> Iterator[Pairs]:
    """Yield all pairs of hashes that differ in at most ``farthest`` bits; a pair may come several times.

    Cut into ``farthest`` + 1 parts, two such hashes have a part in common (Norouzi, Punjani and Fleet 2012), so only
    those that share a part are compared.
    """
    parts = farthest + 1 if farthest < MANY_PARTS else 1
    for low, high in pairwise(round(BITS * part / parts) for part in range(parts + 1)):
        shared = hashes >> np.uint64(low) & np.uint64((1 << high - low) - 1) if parts > 1 else np.zeros_like(hashes)
        for left, right in _same(shared):
            near = np.bitwise_count(hashes[left] ^ hashes[right]) <= farthest
            yield left[near], right[near]


def _same(keys: NDArray[np.uint64]) -> Iterator[Pairs]:
    """Yield the pairs of equal keys: of the sorted ones each with the next, then with the one after that, and so on."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    left, offset = np.arange(len(keys)), 1
    while True:
        left = left[left < len(keys) - offset]
        left = left[ordered[left] == ordered[left + offset]]
        if not left.size:
            return
        yield order[left], order[left + offset]
        offset += 1


def close_vectors(vectors_ND: NDArray[np.float32], threshold: float) -> Iterator[Pairs]:
    """Yield all pairs of vectors of length one whose cosine is above ``threshold``, each once."""
    count = len(vectors_ND)
    for top in range(0, count, ROWS):
        rows = vectors_ND[top : top + ROWS]
        for start in range(top, count, COLUMNS):
            near = np.argwhere(rows @ vectors_ND[start : start + COLUMNS].T > threshold)
            left, right = near[:, 0] + top, near[:, 1] + start
            yield left[left < right], right[left < right]


class Sets:
    """Which of N things belong together: each pair that is told joins two sets (union-find)."""

    def __init__(self, count: int) -> None:
        self.parent = np.arange(count)

    def join(self, pairs: Pairs) -> None:
        """Join the sets of each pair."""
        left, right = (self.parent[side] for side in pairs)
        apart = left != right
        for one, other in zip(left[apart].tolist(), right[apart].tolist(), strict=True):
            low, high = sorted((self._root(one), self._root(other)))
            self.parent[high] = low
        while apart.any() and (self.parent[self.parent] != self.parent).any():
            self.parent = self.parent[self.parent]

    def _root(self, thing: int) -> int:
        while (above := int(self.parent[thing])) != thing:
            thing = above
        return thing

    def groups(self) -> list[list[int]]:
        """Return the sets of two and more, by their first things."""
        order = np.argsort(self.parent, kind="stable")
        cuts = np.flatnonzero(np.diff(self.parent[order])) + 1
        return [part.tolist() for part in np.split(order, cuts) if len(part) > 1]
