"""Distances of sets against formulas written another way, and against what theory says of them."""

import numpy as np
import pytest

from diptych_training.set_metrics import Array, cmmd, fid, inception_score, kid

RANDOM = np.random.default_rng(7)


def ones(*sizes: int) -> tuple[Array, ...]:
    return tuple(np.ones(size) for size in sizes)


def normal(n: int, features: int, shift: float = 0) -> Array:
    return RANDOM.normal(shift, 1, (n, features))


def root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    half: Array = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    return half


def fid_by_roots(a: Array, b: Array) -> float:
    """Return FID as its paper writes it, with the symmetric form of the root."""
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    half = root(s)
    distance = np.square(a.mean(0) - b.mean(0)).sum()
    return float(distance + np.trace(s) + np.trace(t) - 2 * np.trace(root(half @ t @ half)))


@pytest.mark.parametrize(("n", "m", "features"), [(30, 40, 8), (12, 9, 20), (15, 60, 16)])
def test_fid_is_that_of_its_paper_whether_pictures_or_features_are_fewer(n: int, m: int, features: int) -> None:
    a, b = normal(n, features), normal(m, features, 0.3)
    assert fid(a, b)(*ones(n, m)) == pytest.approx(fid_by_roots(a, b), rel=1e-6)
    assert fid(a, a)(*ones(n, n)) == pytest.approx(0, abs=1e-9)


def test_a_picture_that_is_taken_twice_counts_as_two() -> None:
    a, b, weights = normal(6, 4), normal(8, 4), np.array([2.0, 1, 0, 1, 1, 1])
    copied = np.repeat(a, weights.astype(int), axis=0)
    assert fid(a, b)(weights, np.ones(8)) == pytest.approx(fid(copied, b)(*ones(6, 8)))
    assert cmmd(a, b)(weights, np.ones(8)) == pytest.approx(cmmd(copied, b)(*ones(6, 8)))
    chances = np.exp(a) / np.exp(a).sum(1, keepdims=True)
    doubled = np.repeat(chances, weights.astype(int), axis=0)
    assert inception_score(chances)(weights, weights) == pytest.approx(inception_score(doubled)(*ones(6, 6)))


def test_kid_is_the_mean_of_the_kernel_over_pairs_of_different_pictures() -> None:
    a, b = normal(5, 3), normal(4, 3, 1)

    def k(x: Array, y: Array) -> float:
        return float((x @ y / 3 + 1) ** 3)

    within = [np.mean([k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    between = np.mean([k(x, y) for x in a for y in b])
    assert kid(a, b)(*ones(5, 4)) == pytest.approx(sum(within) - 2 * between)


def test_trap_17_kid_has_no_bias_where_fid_has_much() -> None:
    kids, fids = [], []
    for _ in range(60):
        a, b = normal(20, 16), normal(20, 16)
        kids.append(kid(a, b)(*ones(20, 20)))
        fids.append(fid(a, b)(*ones(20, 20)))
    assert abs(np.mean(kids)) < 3 * np.std(kids) / np.sqrt(60)
    assert min(fids) > 2, "two sets of twenty from the same distribution"


def test_a_resample_of_kid_holds_no_picture_against_its_copy() -> None:
    a, b = normal(40, 8), normal(40, 8)
    weights = [RANDOM.multinomial(40, np.full(40, 1 / 40)).astype(float) for _ in range(200)]
    draws = [kid(a, b)(w, np.ones(40)) for w in weights]
    assert abs(np.mean(draws) - kid(a, b)(*ones(40, 40))) < 3 * np.std(draws) / np.sqrt(200)


def test_cmmd_is_never_below_zero_and_grows_with_the_shift() -> None:
    directions = [normal(30, 6, shift) for shift in (0, 0.5, 3)]
    a, b, c = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in directions)
    near, far = cmmd(b, a)(*ones(30, 30)), cmmd(c, a)(*ones(30, 30))
    assert 0 < near < far
    squares = np.square(a[:, None] - c[None]).sum(2), np.square(a[:, None] - a).sum(2), np.square(c[:, None] - c).sum(2)
    between, first, second = (np.exp(-square / 200).mean() for square in squares)
    assert far == pytest.approx(1000 * (first + second - 2 * between))


def test_the_inception_score_is_the_number_of_classes_that_are_sure_and_even() -> None:
    assert inception_score(np.eye(5)[[0, 1, 2, 3, 4] * 3])(*ones(15, 1)) == pytest.approx(5)
    assert inception_score(np.full((9, 5), 0.2))(*ones(9, 1)) == pytest.approx(1)
