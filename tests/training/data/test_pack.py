"""A data set as one archive: the same bytes each time, and a data set again."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid, StoreUnwritable
from diptych_training.data import pack as module
from diptych_training.data.card import describe
from diptych_training.data.entry import Manifest
from diptych_training.data.manifest import prepare
from diptych_training.data.pack import Packed, pack
from support.bucket import Bucket

Make = Callable[..., Dataset]


@pytest.fixture
def manifest(folder: Path, tmp_path: Path, dataset: Make) -> Manifest:
    (folder / "LICENSE").write_text("as you like")
    spec = dataset(folder, split={"count": 3})
    made = prepare(spec, tmp_path / "work", lambda _done, _total: None)
    describe(made, spec, "mine", tmp_path / "card")
    return made


def packed(manifest: Manifest, tmp_path: Path, target: str) -> Packed:
    return pack(manifest, tmp_path / "card", "mine", target, lambda _done, _total: None)


def test_an_archive_is_a_data_set_with_the_same_sides(manifest: Manifest, tmp_path: Path, dataset: Make) -> None:
    made = packed(manifest, tmp_path, str(tmp_path / "out"))
    sides = []
    for side in ("train", "validation"):
        spec = dataset(made.uri, sha256=made.sha256, layout="ImageFolder", where={"split": side})
        again = prepare(spec, tmp_path / "again", lambda _done, _total: None)
        sides.append([(entry.key.removeprefix("pictures/"), entry.captions, entry.sha256) for entry in again.train])
        assert (again.root / "LICENSE").read_text() == "as you like"
    wanted = [[(e.key, e.captions, e.sha256) for e in side] for side in (manifest.train, manifest.held_out)]
    assert sides == wanted


def test_the_same_pictures_are_the_same_bytes_wherever_and_whenever(
    manifest: Manifest, folder: Path, tmp_path: Path
) -> None:
    first = packed(manifest, tmp_path, str(tmp_path / "out"))
    assert (first.made, first.pictures) == (True, 12)
    stamp = (tmp_path / "out" / Path(first.uri).name).stat().st_mtime_ns
    assert packed(manifest, tmp_path, str(tmp_path / "out")) == replace(first, made=False)
    assert (tmp_path / "out" / Path(first.uri).name).stat().st_mtime_ns == stamp
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    other = packed(manifest, tmp_path, str(tmp_path / "elsewhere"))
    assert (other.sha256, other.bytes, other.made) == (first.sha256, first.bytes, True)
    told = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert told["sha256"] == hashlib.sha256(Path(first.uri.removeprefix("file://")).read_bytes()).hexdigest()


@pytest.mark.parametrize("left", ["no facts", "half an archive"])
def test_what_a_kill_left_is_made_whole(manifest: Manifest, tmp_path: Path, left: str) -> None:
    first = packed(manifest, tmp_path, str(tmp_path / "out"))
    archive, about = (next((tmp_path / "out").glob(f"*.{kind}")) for kind in ("tar", "json"))
    if left == "no facts":
        about.write_text('{"sha256": "')
    else:
        archive.write_bytes(archive.read_bytes()[:1000])
    assert packed(manifest, tmp_path, str(tmp_path / "out")) == first
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".tar"]


def test_an_object_store_takes_it_whole_or_not(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(allowed=1)
    monkeypatch.setattr(module, "file_system", lambda _uri: (bucket, "ours/data"))
    with pytest.raises(StoreUnwritable, match="No space left"):
        packed(manifest, tmp_path, "s3://ours/data")
    bucket.allowed = 5
    made = packed(manifest, tmp_path, "s3://ours/data")
    assert (made.made, bucket.allowed) == (True, 3), "without its facts an archive is not believed"
    assert packed(manifest, tmp_path, "s3://ours/data") == replace(made, made=False)
    assert (made.uri.startswith("s3://ours/data/mine-"), bucket.allowed) == (True, 3)
    assert not list((tmp_path / "card").glob(".*.tar"))


def test_a_picture_that_changed_is_not_packed(manifest: Manifest, tmp_path: Path) -> None:
    manifest.train[3].path.write_bytes(b"other")
    with pytest.raises(DatasetInvalid, match="changed after the data set was prepared"):
        packed(manifest, tmp_path, str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.json"))
