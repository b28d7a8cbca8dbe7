import io
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray
from PIL.ExifTags import Base as Exif

from diptych_api.dataset import Image
from diptych_api.errors import DatasetInvalid
from diptych_training.data.picture import decode, read_picture, to_tensor

Pixels = NDArray[np.uint8]
AS_IT_IS = Image(size=16, crop="Stretch", background="#336699")
BEHIND = (0x33, 0x66, 0x99)


@pytest.fixture
def quarters() -> Pixels:
    """Give 16×16 pixels: red, green, blue and yellow quarters, in reading order."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :8], pixels[:8, 8:], pixels[8:, :8], pixels[8:, 8:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
    )
    return pixels


def saved(path: Path, pixels: Pixels | PIL.Image.Image, **options: Any) -> Path:
    picture = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp", "a.jpg", "a.txt"])
def test_each_format_is_known_by_its_content(tmp_path: Path, quarters: Pixels, name: str) -> None:
    formats: dict[str, dict[str, object]] = {
        "a.webp": {"lossless": True},
        "a.jpg": {"quality": 95, "subsampling": 0},
        "a.txt": {"format": "PNG"},
    }
    got = read_picture(saved(tmp_path / name, quarters, **formats.get(name, {})), AS_IT_IS)
    assert got.shape == (16, 16, 3)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - quarters).max() <= (4 if name == "a.jpg" else 0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_trap_20_a_turned_camera_does_not_turn_the_picture(
    tmp_path: Path, quarters: Pixels, orientation: int, suffix: str
) -> None:
    undo: dict[int, Callable[[Pixels], Pixels]] = {  # how the sensor saw the upright scene
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }
    exif = PIL.Image.Exif()
    exif[Exif.Orientation] = orientation
    sensor = PIL.Image.fromarray(np.ascontiguousarray(undo[orientation](quarters)))
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", sensor, exif=exif, **options)
    assert np.abs(read_picture(path, AS_IT_IS).astype(int) - quarters).max() <= 4


def with_alpha(pixels: Pixels) -> PIL.Image.Image:
    alpha = np.full((16, 16, 1), 255, np.uint8)
    alpha[:, :8] = 0
    return PIL.Image.fromarray(np.concatenate([pixels, alpha], axis=2))


def palette(pixels: Pixels, transparency: int | bytes) -> PIL.Image.Image:
    picture = PIL.Image.fromarray((pixels[:, :, 0] == 0).astype(np.uint8)).convert("P")
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.info["transparency"] = transparency
    return picture


def test_the_background_stands_behind_transparent_pixels(tmp_path: Path, quarters: Pixels) -> None:
    for name in ("a.png", "a.webp", "a.tiff"):
        options = {"lossless": True} if name == "a.webp" else {}
        got = read_picture(saved(tmp_path / name, with_alpha(quarters), **options), AS_IT_IS)
        assert (got[:, :8] == BEHIND).all()
        assert (got[:, 8:] == quarters[:, 8:]).all()


def test_half_transparent_pixels_are_mixed(tmp_path: Path) -> None:
    picture = PIL.Image.new("RGBA", (16, 16), (255, 255, 255, 51))
    got = read_picture(saved(tmp_path / "a.png", picture), AS_IT_IS)
    assert np.abs(got[0, 0] - (0.2 * 255 + 0.8 * np.array(BEHIND))).max() <= 1


def test_grey_with_alpha_is_laid_on_the_background(tmp_path: Path) -> None:
    picture = PIL.Image.new("LA", (16, 16), (200, 0))
    picture.paste((200, 255), (8, 0, 16, 16))
    got = read_picture(saved(tmp_path / "a.png", picture), AS_IT_IS)
    assert (got[:, :8] == BEHIND).all()
    assert (got[:, 8:] == 200).all()


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_a_transparent_palette_entry_shows_the_background(
    tmp_path: Path, quarters: Pixels, transparency: int | bytes
) -> None:
    path = saved(tmp_path / "a.png", palette(quarters, transparency), transparency=transparency)
    got = read_picture(path, AS_IT_IS)
    assert (got[quarters[:, :, 0] == 0] == BEHIND).all()
    assert (got[quarters[:, :, 0] != 0] == (255, 0, 0)).all()


def test_a_transparent_colour_of_rgb_shows_the_background(tmp_path: Path, quarters: Pixels) -> None:
    got = read_picture(saved(tmp_path / "a.png", quarters, transparency=(0, 255, 0)), AS_IT_IS)
    assert (got[:8, 8:] == BEHIND).all()
    assert (got[8:] == quarters[8:]).all()


def test_ink_becomes_light(tmp_path: Path, quarters: Pixels) -> None:
    ink = PIL.Image.fromarray(quarters).convert("CMYK")
    got = read_picture(saved(tmp_path / "a.jpg", ink, quality=100, subsampling=0), AS_IT_IS)
    assert np.abs(got.astype(int) - quarters).max() <= 6


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize(("deep", "shallow"), [(0, 0), (32768, 128), (65535, 255), (256, 1), (655, 3)])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str, deep: int, shallow: int) -> None:
    path = saved(tmp_path / f"a.{suffix}", PIL.Image.fromarray(np.full((16, 16), deep, np.uint16)))
    assert (read_picture(path, AS_IT_IS) == shallow).all()


def test_black_and_white_stay_so(tmp_path: Path) -> None:
    bits = np.indices((16, 16)).sum(0) % 2 == 0
    got = read_picture(saved(tmp_path / "a.png", PIL.Image.fromarray(bits)), AS_IT_IS)
    assert (got == np.where(bits, 255, 0)[:, :, None]).all()


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tiff"])
def test_of_a_film_the_first_frame_counts(tmp_path: Path, name: str) -> None:
    frames = [PIL.Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
    assert (read_picture(path, AS_IT_IS) == (255, 0, 0)).all()


def weights(start: int, stop: int, length: int, size: int) -> NDArray[np.float64]:
    """Return the ``[size, length]`` matrix of an antialiased bicubic resize (a = -0.5) of a span."""
    scale = (stop - start) / size
    centres = start + (np.arange(size)[:, None] + 0.5) * scale
    x = np.abs(np.arange(length)[None, :] + 0.5 - centres) / max(scale, 1.0)
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    kernel: NDArray[np.float64] = np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
    total: NDArray[np.float64] = kernel.sum(1, keepdims=True)
    return kernel / total


def resized(pixels: Pixels, size: int, box: tuple[int, int, int, int], order: str) -> NDArray[np.float64]:
    """Return the box resized by the formula; each of the two passes ends in whole numbers from 0 to 255."""
    left, top, right, bottom = box
    height, width, _ = pixels.shape
    out: NDArray[np.float64] = pixels.astype(float)
    for axis in order:
        if axis == "x":
            out = np.einsum("ow,hwc->hoc", weights(left, right, width, size), out)
        else:
            out = np.einsum("oh,hwc->owc", weights(top, bottom, height, size), out)
        out = np.floor(out + 0.5).clip(0, 255)
    return out


@pytest.mark.parametrize(("height", "width"), [(48, 80), (81, 50), (16, 16), (7, 9), (100, 17)])
def test_crop_and_stretch_follow_the_formula(tmp_path: Path, height: int, width: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path, side = saved(tmp_path / "a.png", pixels), min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    boxes = {"Center": (left, top, left + side, top + side), "Stretch": (0, 0, width, height)}
    for crop, box in boxes.items():
        got = read_picture(path, Image.model_validate({"size": 24, "crop": crop}))
        # Pillow takes the axis first that saves it work.
        assert min(np.abs(got - resized(pixels, 24, box, order)).max() for order in ("xy", "yx")) <= 1


def test_a_picture_of_the_right_size_is_left_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert (read_picture(saved(tmp_path / "a.png", pixels), Image(size=64)) == pixels).all()


def test_a_sliver_takes_little_memory(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", PIL.Image.new("L", (60_000, 1), 128))
    assert read_picture(path, Image(size=512)).shape == (512, 512, 3)


def test_the_tensor_reaches_from_minus_one_to_one() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 1], pixels[1, 2, 2] = 255, 51
    tensor = to_tensor(pixels)
    assert tensor.shape == (3, 2, 3)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert tensor[:, 0, 1].tolist() == [1, 1, 1]
    assert tensor[:, 0, 0].tolist() == [-1, -1, -1]
    assert tensor[2, 1, 2].item() == pytest.approx(51 / 127.5 - 1)


def test_decoding_in_threads_leaves_the_warning_filters_alone(quarters: Pixels) -> None:
    data = io.BytesIO()
    PIL.Image.fromarray(quarters).save(data, "TIFF")
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode(data.getvalue()) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_a_grey_value_without_a_white_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tiff", PIL.Image.fromarray(np.full((4, 4), 0.5, np.float32)))
    with pytest.raises(DatasetInvalid, match="mode F have no fixed white"):
        read_picture(path, AS_IT_IS)
