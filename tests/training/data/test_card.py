"""What people read of a prepared data set."""

import json
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import StoreUnwritable
from diptych_training.data.card import bins, describe
from diptych_training.data.manifest import prepare
from diptych_training.data.sheets import preview

Make = Callable[..., Dataset]


@pytest.fixture
def described(folder: Path, tmp_path: Path, dataset: Make) -> Path:
    """Give the folder of the card of a data set with a copy, a bad picture, a licence and odd captions."""
    (folder / "images/001.png").write_bytes((folder / "images/000.png").read_bytes())
    (folder / "images/002.png").write_bytes(b"not a picture")
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Ours\n")
    (folder / "LICENSE.txt").write_text("as you like")
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    lines[5] = json.dumps({"file_name": "images/005.png", "text": "a | b <b>\n" + "long " * 40, "class": "x|y"})
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    spec = dataset(folder, dedup={"enabled": True}, badSamples={"maxFraction": 0.2}, split={"count": 2})
    manifest = prepare(spec, tmp_path / "work", lambda _done, _total: None)
    describe(manifest, spec, "mine", tmp_path / "card")
    return tmp_path / "card"


def test_the_facts_tell_what_became_of_every_picture(described: Path) -> None:
    facts = json.loads((described / "preparation.json").read_text())
    counts = {name: facts[name] for name in ("training", "heldOut", "unusable", "leftOut")}
    assert counts == {"training": 8, "heldOut": 2, "unusable": 1, "leftOut": {"duplicate": 1}}
    assert facts["groups"] == [{"kept": "images/000.png", "leftOut": ["images/001.png"]}]
    assert (facts["licence"], facts["credits"]) == ("cc-by-4.0", ["LICENSE.txt"])
    assert facts["shorterSides"] == [{"from": 16, "to": 31, "count": 10}]
    assert facts["captionWords"][0] == {"from": 2, "to": 3, "count": 9}
    assert facts["captionWords"][-1] == {"from": 32, "to": 63, "count": 1}


def test_the_card_is_one_that_the_hub_reads(described: Path) -> None:
    text = (described / "README.md").read_text()
    assert text.startswith('---\nlicense: "cc-by-4.0"\ntask_categories: [text-to-image]\n---\n# mine\n')
    assert "| left out by duplicate | 1 |" in text
    assert "| x\\|y | 1 |" in text
    for name in ("preview.png", "duplicates.png"):
        assert f"({name})" in text
        with PIL.Image.open(described / name) as sheet:
            assert sheet.width > 300


def test_sheets_are_the_same_each_time_and_bear_a_file_that_went(folder: Path, tmp_path: Path, dataset: Make) -> None:
    spec = dataset(folder)
    manifest = prepare(spec, tmp_path / "work", lambda _done, _total: None)
    first = preview(manifest, spec.image, shown=4)
    assert first.tobytes() == preview(manifest, spec.image, shown=4).tobytes()
    for path in (folder / "images").iterdir():
        path.unlink()
    assert preview(manifest, spec.image, shown=4).size == first.size


def test_a_place_that_takes_no_card_is_named(folder: Path, tmp_path: Path, dataset: Make) -> None:
    manifest = prepare(dataset(folder), tmp_path / "work", lambda _done, _total: None)
    (tmp_path / "card").write_text("a file")
    with pytest.raises(StoreUnwritable, match="card"):
        describe(manifest, dataset(folder), "mine", tmp_path / "card")


def test_numbers_are_counted_by_powers_of_two() -> None:
    assert [(b.first, b.last, b.pictures) for b in bins([0, 1, 3, 8, 15])] == [
        (1, 1, 2),
        (2, 3, 1),
        (4, 7, 0),
        (8, 15, 2),
    ]
    assert bins([]) == []
