"""Pictures that are left out though they could be used: which, why, and that they are no bad samples."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.ImageFilter import GaussianBlur

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.manifest import prepare, read, told_dropped, write
from diptych_training.data.sharpness import sharpness

Make = Callable[..., Dataset]
NOTO = Path("examples/noto/images")


def change(picture: Path, to: PIL.Image.Image) -> None:
    to.save(picture)


def dropped(spec: Dataset, workdir: Path) -> list[tuple[str, str, str]]:
    manifest = prepare(spec, workdir, lambda _done, _total: None)
    assert not manifest.rejected
    return [(each.key[-7:], each.rule, each.reason) for each in manifest.dropped]


def test_small_and_long_pictures_are_left_out(folder: Path, tmp_path: Path, dataset: Make) -> None:
    change(folder / "images/002.png", PIL.Image.new("RGB", (15, 90)))
    change(folder / "images/005.png", PIL.Image.new("RGB", (16, 64)))
    change(folder / "images/006.png", PIL.Image.new("RGB", (16, 48)))
    filters = {"minSide": 16, "maxAspect": 3}
    assert dropped(dataset(folder, filters=filters), tmp_path) == [
        ("002.png", "minSide", "its shorter side has 15 pixels, fewer than 16"),
        ("005.png", "maxAspect", "its sides are 4.00 to 1, more than 3"),
    ]


def test_blurred_pictures_are_left_out(folder: Path, tmp_path: Path, dataset: Make) -> None:
    sharp = PIL.Image.open(folder / "images/003.png")
    change(folder / "images/003.png", sharp.filter(GaussianBlur(3)))
    found = dropped(dataset(folder, filters={"minSharpness": 1000}), tmp_path)
    assert [(key, rule) for key, rule, _ in found] == [("003.png", "minSharpness")]


def test_sharpness_is_that_of_opencv() -> None:
    """Computed by ``cv2.Laplacian(grey, cv2.CV_64F).var()`` of OpenCV 5.0.0 for this ramp of squares."""
    x = np.arange(12)
    grey = (np.outer(x, x) * 2 % 256).astype(np.uint8)
    assert sharpness(PIL.Image.fromarray(grey), 12) == pytest.approx(251.77777777777777, rel=1e-12)


def test_more_pixels_do_not_make_a_picture_blurred() -> None:
    small = PIL.Image.open(NOTO / "1f34e.png").convert("RGB")
    large = small.resize((small.width * 4, small.height * 4), PIL.Image.Resampling.BICUBIC)
    assert sharpness(large, large.width) < sharpness(small, 64) / 10
    assert sharpness(large, 64) > sharpness(small, 64) / 2


def test_filters_count_no_bad_samples(folder: Path, tmp_path: Path, dataset: Make) -> None:
    change(folder / "images/001.png", PIL.Image.new("RGB", (64, 64)))
    spec = dataset(folder, filters={"minSide": 64}, badSamples={"maxFraction": 0})
    manifest = prepare(spec, tmp_path / "work", lambda _done, _total: None)
    assert ([entry.key for entry in manifest.train], len(manifest.dropped)) == (["images/001.png"], 11)
    with pytest.raises(DatasetInvalid, match="0 are usable, 0 of them are held out, 12 left out as asked"):
        prepare(dataset(folder, filters={"minSide": 65}), tmp_path / "work", lambda _done, _total: None)


def test_what_is_left_out_is_told_and_listed(folder: Path, tmp_path: Path, dataset: Make) -> None:
    change(folder / "images/004.png", PIL.Image.new("RGB", (8, 8)))
    manifest = prepare(dataset(folder, filters={"minSide": 16}), tmp_path / "work", lambda _done, _total: None)
    write(manifest, tmp_path / "manifest")
    assert read(tmp_path / "manifest") == manifest
    (line,) = (tmp_path / "manifest" / "dropped.jsonl").read_text().splitlines()
    reason = "its shorter side has 8 pixels, fewer than 16"
    assert json.loads(line) == {"key": "images/004.png", "rule": "minSide", "reason": reason}
    told = f"1 left out as asked (minSide 1), such as images/004.png: {reason}. All: place/dropped.jsonl."
    assert told_dropped(manifest.dropped, "place") == told
