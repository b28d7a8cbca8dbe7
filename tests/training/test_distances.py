import math
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych_api.dataset import Image
from diptych_training.distances import (
    Picture,
    Pictures,
    nearest,
    psnr,
    style_distance,
    style_signatures,
    thumbnail_distance,
    thumbnails,
)
from diptych_training.measure import captioned_pictures

EXAMPLES = Path(__file__).parents[2] / "examples"


def grey(value: int, size: int = 64) -> Pictures:
    return np.full((1, size, size, 3), value, np.uint8)


def read(folder: Path) -> dict[str, Picture]:
    return captioned_pictures(folder, Image(size=64))


@pytest.fixture(scope="module")
def versions() -> tuple[Pictures, Pictures]:
    noto, twemoji = read(EXAMPLES / "noto"), read(EXAMPLES / "twemoji-held-out")
    captions = sorted(twemoji)[::2]
    return np.stack([noto[name] for name in captions]), np.stack([twemoji[name] for name in captions])


def test_equal_pictures_are_at_no_distance(versions: tuple[Pictures, Pictures]) -> None:
    noto, _ = versions
    assert thumbnail_distance(noto, noto) == [0.0] * 20
    assert style_distance(noto, noto) == [0.0] * 20
    assert psnr(noto, noto) == [math.inf] * 20


def test_distances_of_plain_pictures_are_known_numbers() -> None:
    assert thumbnail_distance(grey(100), grey(151)) == pytest.approx([0.04])
    assert psnr(grey(100), grey(151)) == pytest.approx([13.979], abs=1e-3)
    assert style_distance(grey(100), grey(151)) == pytest.approx([0.2], rel=0.15)
    assert style_distance(grey(100), grey(202)) == pytest.approx([2 * style_distance(grey(100), grey(151))[0]])


def test_a_thumbnail_is_the_average_of_areas() -> None:
    picture = grey(0)
    picture[0, :4, :4] = 16 * np.arange(16).reshape(4, 4, 1)
    assert thumbnails(picture).reshape(3, 16, 16)[0, 0, 0].item() == pytest.approx(120 / 255)
    assert thumbnails(picture).count_nonzero() == 3


def test_the_nearest_thumbnail_is_found_even_among_near_ones() -> None:
    references = thumbnails(np.concatenate([grey(10), grey(200), grey(11)]))
    assert nearest(thumbnails(np.concatenate([grey(12), grey(10), grey(190)])), references) == [2, 0, 1]


def test_style_does_not_depend_on_the_place(versions: tuple[Pictures, Pictures]) -> None:
    noto, twemoji = versions
    moved = np.roll(noto, (5, -4), axis=(1, 2))
    flipped = noto[:, :, ::-1]
    for changed in (moved, flipped):
        nearer = np.less(style_distance(changed, noto), style_distance(changed, twemoji))
        assert nearer.mean() == 1
    by_thumbnail = np.less(thumbnail_distance(flipped, noto), thumbnail_distance(flipped, twemoji))
    assert by_thumbnail.mean() < 0.8, "a thumbnail knows the place"


def test_noise_and_blur_of_a_generator_are_not_taken_for_the_other_style(versions: tuple[Pictures, Pictures]) -> None:
    noto, twemoji = versions
    noise = np.random.default_rng(0).normal(0, 16, twemoji.shape)
    noisy = (twemoji + noise).clip(0, 255).astype(np.uint8)
    blurred = np.repeat(np.repeat(twemoji[:, ::2, ::2], 2, axis=1), 2, axis=2)
    for spoiled in (noisy, blurred):
        assert not np.less(style_distance(spoiled, noto), style_distance(spoiled, twemoji)).any()


def test_flat_shaded_and_outlined_drawings_differ_in_style_though_their_thumbnails_are_alike() -> None:
    ramp = np.linspace(-60, 60, 4)[None, :, None] + np.zeros((4, 1, 3))
    flat = grey(128)
    hatched = (flat + np.tile(ramp, (16, 16, 1))).astype(np.uint8)
    assert thumbnail_distance(flat, hatched)[0] < 1e-5
    assert style_distance(flat, hatched)[0] > 0.1


def test_a_mirrored_pair_has_the_same_distance_both_ways(versions: tuple[Pictures, Pictures]) -> None:
    noto, twemoji = versions
    assert style_distance(noto, twemoji) == style_distance(twemoji, noto)


@pytest.mark.parametrize(("size", "levels"), [(16, 1), (31, 1), (64, 3), (128, 4)])
def test_signatures_cover_every_scale_down_to_16_pixels(size: int, levels: int) -> None:
    signature = style_signatures(grey(7, size))
    assert signature.shape == (1, levels * 64 * 64)
    assert torch.equal(signature, style_signatures(grey(7, size)))
