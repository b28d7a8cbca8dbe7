"""Aspect buckets: which shape a picture takes, and that none is lost for its shape."""

from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych_api.dataset import AspectBuckets, Image
from diptych_api.errors import DatasetInvalid
from diptych_training.data.buckets import shape_of, shapes
from diptych_training.data.entry import Entry
from diptych_training.data.picture import read_picture
from diptych_training.order import Order

BUCKETS = Image(size=64, aspect_buckets=AspectBuckets(step=16, max_aspect=3))
SIZES = [(100, 100), (200, 100), (100, 200), (300, 100), (90, 110)]


def entries(counts: list[int]) -> list[Entry]:
    """Return so many entries of each of SIZES."""
    sizes = [size for size, count in zip(SIZES, counts, strict=False) for _ in range(count)]
    return [Entry(f"{i:03}.png", Path("x"), (f"{i}",), f"{i:064}", size) for i, size in enumerate(sizes)]


def test_shapes_have_at_most_the_pixels_of_the_square_and_no_side_to_spare() -> None:
    found = shapes(512, AspectBuckets())
    assert found[0] == (384, 640)
    assert (512, 512) in found
    assert set(found) == {(high, wide) for wide, high in found}
    assert all(wide * high <= 512 * 512 < (wide + 64) * (high + 64) for wide, high in found)
    assert all(max(shape) <= 2 * min(shape) for shape in found)


@pytest.mark.parametrize(
    ("size", "shape"),
    [((640, 640), (64, 64)), ((4000, 3300), (64, 64)), ((16, 9), (80, 48)), ((9, 16), (48, 80)), ((5000, 3), (96, 32))],
)
def test_a_picture_takes_the_shape_of_the_nearest_aspect(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert shape_of(size, BUCKETS) == shape
    assert shape_of(size, BUCKETS.square) == (64, 64)


def test_a_step_that_does_not_divide_the_size_leaves_the_square() -> None:
    assert shapes(96, AspectBuckets(max_aspect=2)) == ((64, 128), (96, 96), (128, 64))


@pytest.mark.parametrize("crop", ["Center", "Stretch"])
def test_a_wide_picture_keeps_what_a_square_would_cut_off(tmp_path: Path, crop: str) -> None:
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[:, :8], pixels[:, -8:] = 255, 128
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    image = BUCKETS.model_copy(update={"crop": crop})
    assert (read_picture(tmp_path / "a.png", image) == pixels).all()
    assert read_picture(tmp_path / "a.png", image.square).shape == (64, 64, 3)


@given(
    counts=st.lists(st.integers(0, 12), min_size=5, max_size=5).filter(any),
    batch=st.integers(1, 9),
    seed=st.integers(0, 5),
)
@settings(max_examples=80, deadline=None)
def test_buckets_lose_no_picture(counts: list[int], batch: int, seed: int) -> None:
    """Pain 8 of trainers: pictures of rare shapes vanish. Here each is seen once an epoch, and no step is short."""
    order = Order(entries(counts), "First", seed, BUCKETS, batch)
    total = sum(counts)
    for epoch in range(4):
        seen = Counter(order.visit(epoch * total + i).entry.key for i in range(total))
        assert (len(seen), set(seen.values())) == (total, {1})


@given(counts=st.lists(st.integers(0, 30), min_size=5, max_size=5).filter(any), batch=st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_steps_see_one_shape_but_for_what_is_left_over(counts: list[int], batch: int) -> None:
    order, total = Order(entries(counts), "First", 0, BUCKETS, batch), sum(counts)
    shapes_seen = len({shape_of(size, BUCKETS) for size, count in zip(SIZES, counts, strict=True) if count})
    first, last = -(-total // batch), 2 * total // batch  # the steps that lie wholly in the second epoch
    mixed = [step for step in range(first, last) if len({visit.shape for visit in order.batch(step, batch)}) > 1]
    assert len(mixed) <= shapes_seen


def test_batches_of_buckets_depend_on_seed_and_step_alone() -> None:
    """Exact on resume: whoever asks for a step only, in a new process, gets the same visits."""
    pictures = entries([9, 5, 3, 2, 8])
    whole = [Order(pictures, "First", 3, BUCKETS, 4).batch(step, 4) for step in range(30)]
    assert [Order(pictures, "First", 3, BUCKETS, 4).batch(step, 4) for step in reversed(range(30))] == whole[::-1]
    assert [Order(pictures, "First", 4, BUCKETS, 4).batch(step, 4) for step in range(30)] != whole
    firsts = [{visit.shape for visit in Order(pictures, "First", seed, BUCKETS, 4).batch(0, 4)} for seed in range(20)]
    assert len({frozenset(shapes) for shapes in firsts}) > 2, "no bucket always comes first"


def test_squares_come_in_the_order_that_they_always_had() -> None:
    """A run that began before there were buckets goes on as it was."""
    order = Order(entries([5, 0, 0, 0, 0]), "First", 0)
    assert [order.visit(i).entry.key for i in range(10)] == [
        "000.png", "002.png", "004.png", "001.png", "003.png", "003.png", "002.png", "001.png", "004.png", "000.png",
    ]  # fmt: skip


def test_a_manifest_without_sizes_is_told_from_one_with_them() -> None:
    with pytest.raises(DatasetInvalid, match="of an earlier version"):
        Order([Entry("a.png", Path("a.png"), ("a",), "0" * 64)], "First", 0, BUCKETS, 4)
