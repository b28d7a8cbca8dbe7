"""ClassFolders and Sidecar: what a tree of files says, and what in it would be lost without a word."""

from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.layout import read_layout
from diptych_training.data.manifest import prepare, read, write

Make = Callable[..., Dataset]


def tree(root: Path, *names: str, **texts: str) -> Path:
    """Write pictures of these names; every other file is text."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in {".jpg", ".png", ".webp", ".bmp", ".tiff"}:
            PIL.Image.new("RGB", (6, 4)).save(path)
        else:
            path.write_text(texts.get(path.stem, f"about {path.stem}"), encoding="utf-8")
    return root


def test_a_class_is_the_caption_and_stays_as_metadata(tmp_path: Path, dataset: Make) -> None:
    names = ["nebulae/1.JPG", "nebulae/far/2.tiff", "spiral_galaxies/1.webp", "spiral_galaxies/b.bmp"]
    root = tree(tmp_path / "root", *names, "nebulae/notes.txt", "nebulae/.hidden.png")
    spec = dataset(root, layout="ClassFolders")
    write(prepare(spec, tmp_path / "work", lambda _done, _total: None), tmp_path / "manifest")
    entries = read(tmp_path / "manifest").train
    assert [(e.key, e.captions, e.metadata, e.size) for e in entries] == [
        ("nebulae/1.JPG", ("nebulae",), {"class": "nebulae"}, (6, 4)),
        ("nebulae/far/2.tiff", ("nebulae",), {"class": "nebulae"}, (6, 4)),
        ("spiral_galaxies/1.webp", ("spiral galaxies",), {"class": "spiral_galaxies"}, (6, 4)),
        ("spiral_galaxies/b.bmp", ("spiral galaxies",), {"class": "spiral_galaxies"}, (6, 4)),
    ]


def test_one_class_may_be_asked_for(tmp_path: Path, dataset: Make) -> None:
    root = tree(tmp_path, "cat/1.png", "dog/1.png")
    samples, rejected = read_layout(root, dataset(root, layout="ClassFolders", where={"class": "dog"}))
    assert ([s.key for s in samples], rejected) == (["dog/1.png"], [])


def test_no_picture_is_lost_in_silence(tmp_path: Path, dataset: Make) -> None:
    """Pictures of other formats, outside of the classes or behind links to folders are told with the reason."""
    root = tree(tmp_path / "root", "cat/1.png", "cat/2.gif", "cat/3.HEIC", "top.png")
    tree(tmp_path / "elsewhere", "a.png")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat/copy.png").symlink_to("1.png")
    (root / "cat/loop.png").symlink_to("loop.png")
    (root / "cat/out.png").symlink_to(tmp_path / "elsewhere/a.png")
    samples, rejected = read_layout(root, dataset(root, layout="ClassFolders"))
    assert [s.key for s in samples] == ["cat/1.png"]
    assert [str(r) for r in rejected] == [
        "cat/2.gif: .gif is not read; JPEG, PNG, WEBP, BMP and TIFF are",
        "cat/3.HEIC: .heic is not read; JPEG, PNG, WEBP, BMP and TIFF are",
        "cat/copy.png: the same picture as cat/1.png",
        "cat/loop.png: not a usable file name",
        "cat/out.png: lies outside the data set's folder",
        "dog: links to folders are not followed",
        "top.png: lies in no class folder",
    ]


@pytest.mark.parametrize(
    ("names", "words"),
    [(["1.png"], "holds no class folders"), (["train/cat/1.png", "val/cat/2.png"], "sides of a split, not classes")],
)
def test_a_tree_without_classes_is_refused(tmp_path: Path, dataset: Make, names: list[str], words: str) -> None:
    root = tree(tmp_path, *names)
    with pytest.raises(DatasetInvalid, match=words):
        read_layout(root, dataset(root, layout="ClassFolders"))


def test_captions_lie_beside_their_pictures_or_under_captions(tmp_path: Path, dataset: Make) -> None:
    names = ["a.png", "a.txt", "images/b.jpg", "captions/b.txt", "images/deep/b.png", "captions/deep/b.txt"]
    root = tree(tmp_path, *names, "images/c.png", "images/c.caption", "LICENSE.txt", a="\ufeffone\n\n two \r\n")
    samples, rejected = read_layout(root, dataset(root, layout="Sidecar"))
    assert [(s.key, s.captions) for s in samples] == [
        ("a.png", ("one", "two")), ("images/b.jpg", ("about b",)), ("images/c.png", ("about c",)),
        ("images/deep/b.png", ("about b",)),
    ]  # fmt: skip
    assert rejected == []


def test_a_picture_without_caption_and_a_caption_without_picture_are_told(tmp_path: Path, dataset: Make) -> None:
    names = ["images/a.png", "images/empty.png", "images/latin.png", "images/same.jpg", "images/same.png"]
    texts = ["captions/empty.txt", "captions/gone.txt", "captions/latin.txt", "captions/same.txt", "images/odd.txt"]
    root = tree(tmp_path, *names, *texts, empty=" \n")
    (root / "captions/latin.txt").write_bytes(b"caf\xe9")
    (root / "images/long.txt").write_text("x" * 70_000)
    tree(root, "images/long.png")
    samples, rejected = read_layout(root, dataset(root, layout="Sidecar"))
    assert [s.key for s in samples] == ["images/same.jpg"]
    places = "neither images/a.txt nor images/a.caption nor captions/a.txt nor captions/a.caption"
    assert [str(r) for r in rejected] == [
        f"images/a.png: no caption file: {places}",
        "images/empty.png: empty caption",
        "images/latin.png: captions/latin.txt: not UTF-8",
        "images/long.png: images/long.txt: longer than 65536 bytes",
        "images/same.png: its caption captions/same.txt belongs to images/same.jpg",
        "captions/gone.txt: a caption without a picture",
    ]


def test_a_caption_that_leads_out_of_the_folder_is_not_read(tmp_path: Path, dataset: Make) -> None:
    root = tree(tmp_path / "root", "a.png", "b.png", "b.txt", f"{'x' * 251}.png")
    (tmp_path / "secret").write_text("key")
    (root / "a.txt").symlink_to(tmp_path / "secret")
    samples, rejected = read_layout(root, dataset(root, layout="Sidecar"))
    assert [s.key for s in samples] == ["b.png"]
    reasons = [str(r).split(": ", 1)[1][:40] for r in rejected]
    assert reasons == ["a.txt: lies outside the data set's folder"[:40], f"no caption file: neither {'x' * 40}"[:40]]


def test_a_folder_without_captions_says_where_they_belong(tmp_path: Path, dataset: Make) -> None:
    root = tree(tmp_path, "a.png")
    with pytest.raises(DatasetInvalid, match=r"holds no caption file\. Write the caption of images/1\.png"):
        read_layout(root, dataset(root, layout="Sidecar"))
