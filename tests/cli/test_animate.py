"""`diptych animate` with a Stable Video Diffusion of random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from PIL.ExifTags import Base as Exif

from support.recorded_run import diptych
from support.tiny_models import make_pipeline
from support.tiny_video import make_video_pipeline, renamed_part

pytestmark = pytest.mark.slow
SHORT = ("--frames", 3, "--steps", 2, "--short-side", 34, "--fps", 4)


@pytest.fixture
def picture(place: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(place / "galaxy.png")
    return place / "galaxy.png"


@pytest.fixture
def model(place: Path) -> Path:
    return make_video_pipeline(place / "video")


def frames_of(path: str) -> list[NDArray[np.uint8]]:
    with Image.open(path) as opened:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(opened)]


def test_a_picture_moves_and_the_file_says_how_it_was_made(picture: Path, model: Path) -> None:
    ended = diptych("animate", picture, "--model", model, "--seed", 7, *SHORT)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == f"✓ {picture.with_suffix('.webp')} · 3 frames · seed 7\n"
    frames = frames_of("galaxy.webp")
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 3, "both sides cut to multiples of 4"
    assert np.abs(frames[0].astype(int) - frames[2]).max() > 0
    with Image.open("galaxy.webp") as opened:
        opened.load()
        told = json.loads(opened.getexif()[Exif.ImageDescription])
        assert opened.info["duration"] == 250
    assert (told["seed"], told["frames"], told["fps"], told["bucket"]) == (7, 3, 4, 150)


def test_nothing_is_replaced_unasked_and_the_picture_itself_never(picture: Path, model: Path, place: Path) -> None:
    with Image.open(picture) as opened:
        opened.save("galaxy.webp")
    mine = Path("galaxy.webp").read_bytes()
    for names in (("galaxy.png",), ("galaxy.webp",), ("galaxy.webp", "--force")):
        ended = diptych("animate", *names, "--model", model, *SHORT)
        assert (ended.exit_code, "galaxy.webp exists" in ended.stderr) == (2, True)
    assert Path("galaxy.webp").read_bytes() == mine
    assert diptych("animate", "galaxy.png", "--model", model, *SHORT, "--force").exit_code == 0
    assert Path("galaxy.webp").read_bytes() != mine


def test_the_same_seed_makes_the_same_frames_in_other_forms(picture: Path, model: Path) -> None:
    for name in ("one.png", "two.png", "three.gif"):
        assert diptych("animate", picture, "--model", model, "--seed", 7, *SHORT, "-o", name).exit_code == 0
    one, two = frames_of("one.png"), frames_of("two.png")
    assert all(np.array_equal(*pair) for pair in zip(one, two, strict=True))
    assert len(frames_of("three.gif")) == 3


def test_a_folder_of_half_precision_files_alone_is_read(picture: Path, model: Path) -> None:
    for file in model.rglob("*.safetensors"):
        file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    assert diptych("animate", picture, "--model", model, *SHORT).exit_code == 0


def test_what_is_no_video_model_and_no_form_of_a_file_is_refused(picture: Path, model: Path, place: Path) -> None:
    still = make_pipeline(place / "still")
    ended = diptych("animate", picture, "--model", still, *SHORT)
    assert (ended.exit_code, "is a StableDiffusionPipeline" in ended.stderr) == (2, True)
    ended = diptych("animate", picture, "--model", model, *SHORT, "-o", "galaxy.mp4")
    assert (ended.exit_code, "galaxy.mp4 is no .webp, .gif, .png" in ended.stderr) == (2, True)
    ended = diptych("animate", model / "model_index.json", "--model", model, *SHORT)
    assert (ended.exit_code, "not a picture" in ended.stderr) == (2, True)
    renamed_part(model, "unet", "MyOwnUNet")
    ended = diptych("animate", picture, "--model", model, *SHORT)
    assert (ended.exit_code, "unet is ['diffusers', 'MyOwnUNet']" in ended.stderr) == (2, True)
    assert not (place / "galaxy.webp").exists()
