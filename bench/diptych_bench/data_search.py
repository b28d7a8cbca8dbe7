"""What the search for copies costs, by number and threshold."""

import time
from typing import Any, Final

import numpy as np

from diptych_bench.figures import save, show
from diptych_bench.machine import this_machine, watched
from diptych_training.data.fingerprint import farthest
from diptych_training.data.neighbours import Sets, close_hashes, close_vectors

THRESHOLDS: Final = (0.995, 0.98, 0.95)
WIDTH: Final = 512
COPIES: Final = 10
"""One in so many has a copy."""


def search(count: int) -> None:
    """Measure, print and save."""
    with watched() as weather:
        hashes = [_hashes(number, threshold) for number in (count, 10 * count) for threshold in THRESHOLDS]
        vectors = [_vectors(number) for number in (count // 10, count // 5)]
    columns = ("what", "how many", "threshold", "CPU s", "groups found")
    show("Search for copies", columns, [tuple(row.values()) for row in (*hashes, *vectors)])
    print(save("data-search", this_machine(), weather, {"hashes": hashes, "vectors": vectors}))


def _hashes(count: int, threshold: float) -> dict[str, Any]:
    rng, bits = np.random.default_rng(0), farthest(threshold)
    hashes = rng.integers(0, 2**64, count, np.uint64)
    copies = np.arange(0, count, COPIES)
    hashes[copies[1::2]] = hashes[copies[::2][: len(copies[1::2])]] ^ np.uint64(1)
    began, sets = time.process_time(), Sets(count)
    for pairs in close_hashes(hashes, bits):
        sets.join(pairs)
    groups = len(sets.groups())
    return _row("hashes", count, threshold, time.process_time() - began, groups)


def _vectors(count: int) -> dict[str, Any]:
    vectors = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    vectors[1::COPIES] = vectors[::COPIES]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    began, sets = time.process_time(), Sets(count)
    for pairs in close_vectors(vectors, THRESHOLDS[0]):
        sets.join(pairs)
    groups = len(sets.groups())
    return _row(f"vectors of {WIDTH}", count, THRESHOLDS[0], time.process_time() - began, groups)


def _row(what: str, count: int, threshold: float, seconds: float, groups: int) -> dict[str, Any]:
    return {"what": what, "count": count, "threshold": threshold, "cpu_s": round(seconds, 2), "groups": groups}
