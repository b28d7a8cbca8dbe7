"""A data set that was looked at before, wholly or in part."""

from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import Interrupted, StoreUnwritable
from diptych_training.data import eyes
from diptych_training.data.manifest import Manifest, prepare
from diptych_training.data.picture import decode

Make = Callable[..., Dataset]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give a list that grows with each picture that is decoded; four make a batch."""
    calls: list[int] = []

    def counted(data: bytes) -> PIL.Image.Image:
        calls.append(len(data))
        return decode(data)

    monkeypatch.setattr(eyes, "decode", counted)
    monkeypatch.setattr(eyes.Here, "at_once", 4)
    return calls


def again(spec: Dataset, workdir: Path) -> Manifest:
    return prepare(spec, workdir, lambda _done, _total: None)


def test_an_interrupted_look_goes_on_where_it_was(
    folder: Path, tmp_path: Path, dataset: Make, decoded: list[int]
) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 6:
            raise Interrupted("enough")

    spec = dataset(folder, dedup={"enabled": True}, filters={"minSharpness": 1})
    with pytest.raises(Interrupted):
        prepare(spec, tmp_path, stop)
    assert len(decoded) == 8
    manifest = again(spec, tmp_path)
    assert len(decoded) == 12
    assert again(spec, tmp_path) == manifest == again(spec, tmp_path / "elsewhere")
    assert len(decoded) == 24


def test_what_changed_is_looked_at_again(folder: Path, tmp_path: Path, dataset: Make, decoded: list[int]) -> None:
    before = again(dataset(folder), tmp_path)
    (folder / "images/003.png").write_bytes((folder / "images/004.png").read_bytes() + b"more")
    after = again(dataset(folder), tmp_path)
    assert (len(decoded), after.digest == before.digest) == (13, False)
    again(dataset(folder, dedup={"enabled": True}), tmp_path)
    assert len(decoded) == 25, "another question needs another look"


@pytest.mark.parametrize("harm", [b"\xff\x00{", b'{"key": "images/000.png"}\n', b"[" * 100_000 + b"\n", b'{"key": 1'])
def test_a_damaged_journal_costs_a_look_and_nothing_else(
    folder: Path, tmp_path: Path, dataset: Make, decoded: list[int], harm: bytes
) -> None:
    manifest = again(dataset(folder), tmp_path)
    (journal,) = (tmp_path / "looks").glob("*.jsonl")
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) // 2] + b"\n" + harm)
    assert again(dataset(folder), tmp_path) == manifest
    assert 12 < len(decoded) < 24


def test_a_place_that_takes_no_journal_is_named(folder: Path, tmp_path: Path, dataset: Make) -> None:
    (tmp_path / "looks").write_text("a file")
    with pytest.raises(StoreUnwritable, match="looks"):
        again(dataset(folder), tmp_path)
