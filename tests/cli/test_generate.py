"""`diptych generate` with a tiny base and a real adapter."""

import json
from pathlib import Path

import pytest
from PIL import Image

from support.recorded_run import diptych
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

SHORT = ("--steps", "2", "--guidance", "3")


def picture(path: str) -> Image.Image:
    """Return a picture that was read to its end, its file closed."""
    with Image.open(path) as opened:
        opened.load()
    return opened


def test_the_same_seed_gives_the_same_picture_and_says_how_it_was_made(place: Path, base: Path) -> None:
    for name in ("one.png", "two.png"):
        ended = diptych("generate", "red apple", "--base", base, "--seed", 7, *SHORT, "-o", name)
        assert ended.exit_code == 0, ended.output
    one, two = picture("one.png"), picture("two.png")
    assert one.tobytes() == two.tobytes()
    assert one.size == (64, 64)
    assert (one.info["prompt"], one.info["seed"]) == ("red apple", "7")
    assert json.loads(one.info["settings"])["steps"] == 2


def test_a_seed_that_was_not_given_is_told_and_draws_the_same_again(place: Path, base: Path) -> None:
    told = json.loads(diptych("generate", "owl", "--base", base, *SHORT, "-o", "one.png", "--json").stdout)
    seed = told["pictures"][0]["seed"]
    diptych("generate", "owl", "--base", base, "--seed", seed, *SHORT, "-o", "two.png")
    assert picture("one.png").tobytes() == picture("two.png").tobytes()


def test_several_pictures_have_their_seeds_in_their_names(place: Path, base: Path) -> None:
    ended = diptych("generate", "Red Apple!", "--base", base, "--seed", 5, *SHORT, "-n", 2, "--size", "48x64")
    assert ended.stdout.splitlines() == ["✓ red-apple-5.png · seed 5", "✓ red-apple-6.png · seed 6"]
    assert picture("red-apple-6.png").size == (48, 64)


def test_a_run_gives_base_adapter_and_settings(run: Path, base: Path) -> None:
    tuned = diptych("generate", "red apple", "--run", "job.yaml", "--seed", 7, "-o", "tuned.png")
    assert tuned.exit_code == 0, tuned.output
    diptych("generate", "red apple", "--base", base, "--seed", 7, "--steps", 3, "-o", "base.png")
    tuned_picture = picture("tuned.png")
    assert tuned_picture.tobytes() != picture("base.png").tobytes()
    assert json.loads(tuned_picture.info["settings"])["steps"] == 3
    assert tuned_picture.info["adapter"].startswith("sha256:")


def test_an_adapter_of_another_base_is_refused(run: Path, tmp_path: Path) -> None:
    other = make_pipeline(tmp_path / "other", seed=1)
    ended = diptych("generate", "owl", "--adapter", run / "artifact/peft", "--base", other, *SHORT)
    assert ended.exit_code == 2
    assert "was made for another base: tiny" in ended.stderr


def test_what_cannot_be_drawn_is_an_error_of_the_user(place: Path, base: Path) -> None:
    for wrong, said in ((("--size", "big"), "no size"), (("--base", "builtin:nothing"), "--base builtin:nothing")):
        ended = diptych("generate", "owl", "--base", base, *SHORT, *wrong)
        assert (ended.exit_code, said in ended.stderr) == (2, True)
