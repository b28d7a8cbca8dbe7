import fcntl
import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pytest

from diptych_api.errors import DatasetInvalid, DiptychError, SpecInvalid, StoreUnwritable, UnsupportedHere
from diptych_api.sources import DatasetSource
from diptych_training.data.source import open_source


def tree(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def zipped(folder: Path, top: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in tree(folder).items():
            file.writestr(top + name, content)
    return data.getvalue()


def tarred(folder: Path) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        file.add(folder, arcname="top")
    return data.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def opened(uri: Path | str, workdir: Path, sha256: str | None = None) -> Path:
    return open_source(DatasetSource(uri=str(uri), sha256=sha256), workdir)


def test_a_local_folder_stays_where_it_is(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in (folder, "pictures", "./pictures/", f"file://{folder}"):
        assert opened(uri, tmp_path / "work") == folder
    assert tree(tmp_path / "work") == {}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "A.ZIP"])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_local_archive_is_unpacked(folder: Path, tmp_path: Path, name: str, scheme: str) -> None:
    archive = tmp_path / name
    data = zipped(folder, "top/") if name.lower().endswith("zip") else tarred(folder)
    data = gzip.compress(data) if name.endswith("gz") else data
    archive.write_bytes(data)
    root = opened(f"{scheme}{archive}", tmp_path / "work", digest(data))
    assert tree(root) == tree(folder)
    assert (tmp_path / "work" / digest(data)) in root.parents


def test_an_archive_is_unpacked_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(folder))
    first = opened(tmp_path / "a.zip", tmp_path / "work")
    born = first.stat().st_ino
    assert opened(tmp_path / "a.zip", tmp_path / "work") == first
    assert first.stat().st_ino == born
    assert len(list((tmp_path / "work").iterdir())) == 1


def test_a_half_unpacked_folder_is_made_again(folder: Path, tmp_path: Path) -> None:
    data = zipped(folder)
    (tmp_path / "a.zip").write_bytes(data)
    torn = tmp_path / "work" / digest(data)
    (torn / "files").mkdir(parents=True)
    (torn / "files" / "metadata.jsonl").write_text("torn")
    assert tree(opened(tmp_path / "a.zip", tmp_path / "work")) == tree(folder)


def test_leavings_of_killed_processes_go_and_those_of_living_ones_stay(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(folder))
    work = tmp_path / "work"
    for name in ("dead", "alive"):
        (work / f".unpack-{name}" / "files").mkdir(parents=True)
    lock = os.open(work / ".unpack-alive", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opened(tmp_path / "a.zip", work)
    finally:
        os.close(lock)
    assert sorted(p.name for p in work.iterdir() if p.name.startswith(".")) == [".unpack-alive"]


def test_an_object_store_folder_is_copied_once_and_again_when_it_changes(folder: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "memory://bucket/data", recursive=True)
    try:
        first = opened("memory://bucket/data", tmp_path / "work")
        assert tree(first) == tree(folder)
        assert opened("memory://bucket/data", tmp_path / "work") == first
        memory.pipe_file("/bucket/data/new.txt", b"new")
        second = opened("memory://bucket/data", tmp_path / "work")
        assert set(tree(second)) - set(tree(first)) == {"new.txt"}
    finally:
        memory.rm("/bucket", recursive=True)


def test_an_archive_in_an_object_store_is_unpacked(folder: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/a.tar.gz", gzip.compress(tarred(folder)))
    try:
        assert tree(opened("memory://bucket/a.tar.gz", tmp_path / "work")) == tree(folder)
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_wrong_checksum_names_both_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    data = zipped(folder)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DatasetInvalid, match=f"is {digest(data)}, but the spec says {'0' * 64}"):
        opened(tmp_path / "a.zip", tmp_path / "work", "0" * 64)
    assert tree(tmp_path / "work") == {}


def test_a_missing_folder_is_answered_with_what_is_there(folder: Path) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        opened(folder.with_name("picturs"), folder.parent / "work")
    assert "holds pictures, work." in caught.value.message
    assert caught.value.hint == f"Did you mean {folder}?"


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("a.rar", DatasetInvalid, "no archive that can be read"),
        ("https://host/a.rar", DatasetInvalid, "no archive that can be read"),
        ("http://host/a.zip", SpecInvalid, "cannot be read from http://host/a.zip"),
        ("https://me:secret@host/a.zip::file:///etc", SpecInvalid, "cannot be read from https://host/a.zip"),
        ("ftp://host/a.zip", SpecInvalid, "https:// with sha256"),
        ("file://host/a.zip", SpecInvalid, "names no local path"),
        ("memory://bucket/none", DatasetInvalid, "nothing at memory://bucket/none"),
    ],
)
def test_a_source_that_cannot_be_is_refused(tmp_path: Path, uri: str, error: type[DiptychError], words: str) -> None:
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    where = tmp_path / uri if uri == "a.rar" else uri
    with pytest.raises(error) as caught:
        opened(where, tmp_path / "work", "0" * 64 if uri.startswith("https") else None)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_checksum_of_a_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecInvalid, match=r"spec\.dataset\.source\.sha256"):
        opened(folder, tmp_path / "work", "0" * 64)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ({"pvc": {"claimName": "data"}}, "Mount it"),
        ({"uri": "x", "credentials": {"name": "a", "key": "NOT_SET"}}, "export NOT_SET="),
    ],
)
def test_a_source_of_other_places_is_refused_with_a_way_out(
    tmp_path: Path, source: dict[str, object], hint: str
) -> None:
    with pytest.raises(UnsupportedHere, match=hint):
        open_source(DatasetSource.model_validate(source), tmp_path)


def test_a_work_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    with pytest.raises(StoreUnwritable, match=f"Cannot write below {tmp_path / 'work'}"):
        opened(folder, tmp_path / "work")
