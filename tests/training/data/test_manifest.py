import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diptych_api.dataset import Dataset, Image
from diptych_api.errors import DatasetInvalid, StoreUnwritable, UnsupportedHere
from diptych_training.data.layout import read_layout
from diptych_training.data.manifest import Manifest, prepare, read, read_entry, verify, write
from diptych_training.data.picture import read_picture

Make = Callable[..., Dataset]


def prepared(spec: Dataset, workdir: Path) -> Manifest:
    return prepare(spec, workdir, lambda _done, _total: None)


def keys(manifest: Manifest) -> tuple[list[str], list[str]]:
    return [e.key for e in manifest.train], [e.key for e in manifest.held_out]


def test_every_picture_is_hashed_and_on_one_side(folder: Path, tmp_path: Path, dataset: Make) -> None:
    heard: list[tuple[int, int]] = []
    spec = dataset(folder, split={"count": 3, "seed": 5})
    manifest = prepare(spec, tmp_path / "work", lambda done, total: heard.append((done, total)))
    assert heard == [(i + 1, 12) for i in range(12)]
    assert (len(manifest.train), len(manifest.held_out), manifest.rejected) == (9, 3, ())
    assert sorted(keys(manifest)[0] + keys(manifest)[1]) == [f"images/{i:03}.png" for i in range(12)]
    for entry in manifest.train + manifest.held_out:
        assert entry.sha256 == hashlib.sha256((folder / entry.key).read_bytes()).hexdigest()
        assert entry.captions == (f"picture {int(entry.key[-7:-4])}",)


def test_bad_pictures_are_skipped_counted_and_listed(folder: Path, tmp_path: Path, dataset: Make) -> None:
    (folder / "images/003.png").write_bytes(b"not a picture")
    whole = (folder / "images/007.png").read_bytes()
    (folder / "images/007.png").write_bytes(whole[: len(whole) // 2])
    (folder / "images/009.png").unlink()
    manifest = prepared(dataset(folder, badSamples={"maxFraction": 0.25}), tmp_path / "work")
    assert len(manifest.train) == 9
    assert [(r.key[-7:], r.line) for r in manifest.rejected] == [("009.png", 10), ("003.png", 4), ("007.png", 8)]
    listed = [json.loads(line) for line in (tmp_path / "work" / "rejected.jsonl").read_text().splitlines()]
    assert [row["reason"] for row in listed] == [r.reason for r in manifest.rejected]


def test_too_many_bad_pictures_end_the_run(folder: Path, tmp_path: Path, dataset: Make) -> None:
    for i in range(4):
        (folder / f"images/{i:03}.png").write_bytes(b"not a picture")
    with pytest.raises(DatasetInvalid) as caught:
        prepared(dataset(folder, badSamples={"maxFraction": 0.33}), tmp_path / "work")
    listed_in = tmp_path / "work" / "rejected.jsonl"
    assert caught.value.message == (
        "4 of 12 samples are unusable (33.3%, allowed is 33.0%). The first: "
        + "; ".join(f"images/00{i}.png (line {i + 1}): not a picture (JPEG, PNG, WEBP, BMP, TIFF)" for i in range(3))
        + f". All of them: {listed_in}."
    )
    assert len(listed_in.read_text().splitlines()) == 4


def test_a_data_set_without_training_samples_is_refused(folder: Path, tmp_path: Path, dataset: Make) -> None:
    with pytest.raises(DatasetInvalid, match="12 are usable, 12 of them are held out"):
        prepared(dataset(folder, split={"fraction": 1}), tmp_path / "work")
    (folder / "metadata.jsonl").write_text("\n")
    with pytest.raises(DatasetInvalid, match="0 are usable"):
        prepared(dataset(folder), tmp_path / "work")


def test_the_digest_tells_pictures_captions_and_sides_apart(folder: Path, tmp_path: Path, dataset: Make) -> None:
    def digest(**fields: object) -> str:
        return prepared(dataset(folder, **fields), tmp_path / "work").digest

    first = digest(split={"count": 3})
    assert digest(split={"count": 3}) == first
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\n".join(reversed(lines)))
    assert digest(split={"count": 3}) == first, "order of the file does not matter"
    others = [digest(split={"count": 4}), digest(split={"count": 3, "seed": 1})]
    (folder / "metadata.jsonl").write_text("\n".join(lines).replace("picture 4", "picture four"))
    others.append(digest(split={"count": 3}))
    (folder / "images/005.png").write_bytes((folder / "images/006.png").read_bytes())
    others.append(digest(split={"count": 3}))
    assert len({first, *others}) == 5


def test_the_digest_does_not_know_where_the_folder_lies(folder: Path, tmp_path: Path, dataset: Make) -> None:
    before = prepared(dataset(folder), tmp_path / "work").digest
    moved = folder.rename(tmp_path / "moved")
    assert prepared(dataset(moved), tmp_path / "work").digest == before


def test_a_manifest_reads_back_as_it_was_written(folder: Path, tmp_path: Path, dataset: Make) -> None:
    (folder / "images/000.png").write_bytes(b"")
    odd = json.dumps({"file_name": "images/001.png", "text": ["two\u2028lines", 'a "quote"\n海']}, ensure_ascii=False)
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "metadata.jsonl").write_text("\n".join([lines[0], odd, *lines[2:]]), encoding="utf-8")
    manifest = prepared(dataset(folder, badSamples={"maxFraction": 0.5}, split={"count": 2}), tmp_path / "work")
    write(manifest, tmp_path / "manifest")
    assert read(tmp_path / "manifest") == manifest
    names = ["dropped.jsonl", "manifest.json", "rejected.jsonl", "train.jsonl", "validation.jsonl"]
    assert sorted(p.name for p in (tmp_path / "manifest").iterdir()) == names


def test_a_manifest_is_itself_a_json_lines_data_set(folder: Path, tmp_path: Path, dataset: Make) -> None:
    manifest = prepared(dataset(folder, split={"count": 2}), tmp_path / "work")
    write(manifest, folder)
    samples, rejected = read_layout(folder, dataset(folder, layout="JsonLines"))
    assert [(s.key, s.captions) for s in samples] == [(e.key, e.captions) for e in manifest.train]
    assert rejected == []


def test_a_data_set_may_move_after_it_was_prepared(folder: Path, tmp_path: Path, dataset: Make) -> None:
    manifest = prepared(dataset(folder), tmp_path / "work")
    write(manifest, tmp_path / "manifest")
    moved = folder.rename(tmp_path / "moved")
    again = read(tmp_path / "manifest", moved)
    assert again.digest == manifest.digest
    assert all(verify(entry) for entry in again.train)


@pytest.mark.parametrize("name", ["train.jsonl", "rejected.jsonl", "manifest.json"])
@pytest.mark.parametrize("harm", ["gone", "cut", "line lost"])
def test_a_torn_manifest_is_noticed(folder: Path, tmp_path: Path, dataset: Make, name: str, harm: str) -> None:
    (folder / "images/000.png").write_bytes(b"")
    manifest = prepared(dataset(folder, badSamples={"maxFraction": 0.5}), tmp_path / "work")
    write(manifest, tmp_path / "manifest")
    path = tmp_path / "manifest" / name
    if harm == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-5] if harm == "cut" else data[: data[:-1].rfind(b"\n") + 1])
    with pytest.raises(DatasetInvalid, match="Delete that folder and run again"):
        read(tmp_path / "manifest")


def test_a_changed_picture_is_an_error_when_it_is_read(folder: Path, tmp_path: Path, dataset: Make) -> None:
    manifest = prepared(dataset(folder), tmp_path / "work")
    first, second, third = manifest.train[:3]
    image = Image(size=16)
    assert (read_entry(first, image) == read_picture(first.path, image)).all()
    second.path.write_bytes(first.path.read_bytes())
    third.path.unlink()
    with pytest.raises(DatasetInvalid, match=f"{second.path} changed .* checksum was {second.sha256} and is"):
        read_entry(second, image)
    with pytest.raises(DatasetInvalid, match=f"{third.path} changed .* No such file"):
        verify(third)


def test_a_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path, dataset: Make) -> None:
    manifest = prepared(dataset(folder), tmp_path / "work")
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnwritable, match=r"Cannot write .*rejected\.jsonl"):
        write(manifest, tmp_path / "file")


def test_a_second_writing_replaces_the_first(folder: Path, tmp_path: Path, dataset: Make) -> None:
    manifest = prepared(dataset(folder, split={"count": 2}), tmp_path / "work")
    write(manifest, tmp_path / "manifest")
    other = prepared(dataset(folder, split={"count": 5}), tmp_path / "work")
    write(other, tmp_path / "manifest")
    assert read(tmp_path / "manifest") == other


def test_captions_and_pixels_come_out_in_the_end(folder: Path, tmp_path: Path, dataset: Make) -> None:
    spec = dataset(folder, image={"size": 32, "crop": "Stretch"})
    manifest = prepared(spec, tmp_path / "work")
    pixels = read_entry(manifest.train[0], spec.image)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"captioning": {"provider": "OpenAI"}}, "spec.dataset.captioning.endpoint"),
        ({"publishTo": "ftp://x"}, "spec.dataset.publishTo"),
    ],
)
def test_what_this_version_cannot_do_is_reported(
    folder: Path, tmp_path: Path, dataset: Make, fields: dict[str, object], named: str
) -> None:
    with pytest.raises(UnsupportedHere, match=named):
        prepared(dataset(folder, **fields), tmp_path / "work")
