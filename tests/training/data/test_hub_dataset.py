"""HubDataset: Parquet and Arrow files with pictures in them, as the hub and save_to_disk write them."""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.facts import facts_of
from diptych_training.data.hub_files import split_files
from diptych_training.data.manifest import Manifest, prepare, read_entry

Make = Callable[..., Dataset]


def encoded(i: int, form: str = "PNG") -> bytes:
    data = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(data, form)
    return data.getvalue()


def table(count: int, **columns: Iterable[Any]) -> pa.Table:
    """Return rows with pictures as the datasets library keeps them, and a class label."""
    pictures = [{"bytes": encoded(i), "path": f"{i}.png"} for i in range(count)]
    features = {"image": {"_type": "Image"}, "style": {"_type": "ClassLabel", "names": ["ink", "oil"]}}
    told: dict[str, Any] = {"image": pictures, "text": [f"picture {i}" for i in range(count)]}
    told |= {"style": [i % 2 for i in range(count)]} | columns
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.table(told).replace_schema_metadata(about)


def written(root: Path, tables: Mapping[str, pa.Table], readme: str = "") -> Path:
    for name, rows in tables.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(rows, path, row_group_size=3)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
                writer.write_table(rows)
    if readme:
        (root / "README.md").write_text(readme)
    return root


def prepared(spec: Dataset, workdir: Path) -> Manifest:
    return prepare(spec, workdir, lambda _done, _total: None)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_rows_become_captioned_pictures_of_their_class(tmp_path: Path, dataset: Make, kind: str) -> None:
    root = written(tmp_path / "root", {f"data/train-{i}-of-2.{kind}": table(4) for i in range(2)})
    written(root, {f"data/test-0.{kind}": table(9)})
    manifest = prepared(dataset(root, layout="HubDataset"), tmp_path / "work")
    assert [(e.captions, e.metadata) for e in manifest.train] == [
        ((f"picture {i}",), {"style": ("ink", "oil")[i % 2]}) for _ in range(2) for i in range(4)
    ]
    pixels = read_entry(manifest.train[3], dataset(root, image={"size": 16}).image)
    assert (pixels == (60, 0, 0)).all()


def test_columns_and_rows_may_be_chosen_and_capped(tmp_path: Path, dataset: Make) -> None:
    texts = [[f"{i}", f"long {i}"] for i in range(8)]
    root = written(tmp_path / "root", {"train.parquet": table(8, long=texts)})
    spec = dataset(root, layout="HubDataset", captionColumn="long", where={"style": "oil"}, limit=3)
    manifest = prepared(spec, tmp_path / "work")
    assert [e.captions for e in manifest.train] == [("1", "long 1"), ("3", "long 3"), ("5", "long 5")]
    assert len(list(manifest.root.rglob("*.png"))) == 3, "pictures that nobody asked for take no room"


def test_pictures_without_a_column_of_captions_get_them_written(tmp_path: Path, dataset: Make) -> None:
    root = written(tmp_path / "root", {"train.parquet": table(4).drop(["text"])})
    captioning = {"provider": "Template", "prompt": "a picture in {style}"}
    spec = dataset(root, layout="HubDataset", captioning=captioning)
    manifest = prepared(spec, tmp_path / "work")
    assert [e.captions for e in manifest.train] == [("a picture in ink",), ("a picture in oil",)] * 2
    assert facts_of(spec, root).pictures == 4


def test_a_picture_has_the_same_name_whatever_else_is_chosen(tmp_path: Path, dataset: Make) -> None:
    root = written(tmp_path / "root", {"train.parquet": table(8)})
    every = prepared(dataset(root, layout="HubDataset"), tmp_path / "work")
    some = prepared(dataset(root, layout="HubDataset", where={"style": "oil"}), tmp_path / "work")
    assert {(e.key, e.sha256) for e in some.train} < {(e.key, e.sha256) for e in every.train}


def test_it_is_unpacked_once_and_never_half(tmp_path: Path, dataset: Make) -> None:
    root = written(tmp_path / "root", {"train.parquet": table(40)})
    spec, work = dataset(root, layout="HubDataset"), tmp_path / "work"

    class StoppedError(Exception):
        pass

    def stop(done: int, _total: int) -> None:
        if done == 20:
            raise StoppedError

    with pytest.raises(StoppedError):
        prepare(spec, work, stop)
    assert list(work.iterdir()) == []
    first = prepared(spec, work)
    heard: list[tuple[int, int]] = []
    assert prepare(spec, work, lambda done, total: heard.append((done, total))) == first
    assert len(heard) == 40, "only the looks into the pictures, nothing is unpacked again"


def test_rows_without_picture_or_caption_are_told(tmp_path: Path, dataset: Make) -> None:
    big = {"bytes": b"x" * (2**25 + 1), "path": None}
    pictures = [
        {"bytes": encoded(1), "path": None}, {"bytes": None, "path": None}, {"bytes": b"not a picture", "path": None},
        {"bytes": None, "path": "../secret.png"}, {"bytes": None, "path": "https://a.example/1.png"},
        {"bytes": None, "path": "in/2.png"}, big, {"bytes": encoded(3), "path": None},
    ]  # fmt: skip
    texts = ["good", "b", "c", "d", "e", "beside", "g", None]
    root = written(tmp_path / "root", {"train.parquet": table(8, image=pictures, text=texts)})
    (root / "in").mkdir()
    (root / "in/2.png").write_bytes(encoded(2))
    (tmp_path / "secret.png").write_bytes(encoded(9))
    spec = dataset(root, layout="HubDataset", badSamples={"maxFraction": 0.8})
    manifest = prepared(spec, tmp_path / "work")
    assert [e.captions for e in manifest.train] == [("good",), ("beside",)]
    assert sorted((r.line, r.reason.split(":")[0]) for r in manifest.rejected) == [
        (2, "no picture but {'bytes'"),
        (3, "not a picture (JPEG, PNG, WEBP, BMP, TIFF)"),
        (4, "lies outside the data set's folder"),
        (5, "the picture is a link, which is not followed"),
        (7, "more than 33554432 bytes"),
        (8, "caption is not text"),
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"imageColumn": "img"}, "no column img for spec.dataset.imageColumn. There is: image, text, style."),
        ({"captionColumn": "alt"}, "no column alt for spec.dataset.captionColumn"),
        ({"where": {"artist": "me"}}, "no column artist for spec.dataset.where. There is: text, style."),
    ],
)
def test_a_column_that_is_missing_is_named(tmp_path: Path, dataset: Make, fields: dict[str, Any], words: str) -> None:
    root = written(tmp_path / "root", {"train.parquet": table(2)})
    with pytest.raises(DatasetInvalid) as caught:
        prepared(dataset(root, layout="HubDataset", **fields), tmp_path / "work")
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["train.parquet", "train.arrow"])
@pytest.mark.parametrize("harm", ["cut", "text", "middle"])
def test_a_broken_file_is_named(tmp_path: Path, dataset: Make, name: str, harm: str) -> None:
    root = written(tmp_path / "root", {name: table(8)})
    data = (root / name).read_bytes()
    harms = {"cut": data[: len(data) // 2], "text": b"<html>", "middle": data[:200] + b"\xff" * 400 + data[600:]}
    (root / name).write_bytes(harms[harm])
    with pytest.raises(DatasetInvalid, match=rf"{name} cannot be read|unusable"):
        prepared(dataset(root, layout="HubDataset"), tmp_path / "work")


README = """\
---
configs:
- config_name: small
  data_files:
  - {split: train, path: "few/*.parquet"}
- config_name: full
  default: true
  data_files:
  - {split: train, path: ["many/a-*.parquet", "**/b.parquet"]}
  - {split: test, path: gone.parquet}
---
"""
FILES = ["few/x.parquet", "many/a-0.parquet", "many/a-1.parquet", "many/b.parquet", "many/c.parquet"]


@pytest.mark.parametrize(
    ("names", "readme", "config", "split", "found"),
    [
        (["data/train-0.parquet", "data/test-0.parquet"], "", None, "train", ["data/train-0.parquet"]),
        (["dev.parquet", "constraints.parquet"], "", None, "validation", ["dev.parquet"]),
        (["part-0.parquet", "part-1.parquet"], "", None, "train", ["part-0.parquet", "part-1.parquet"]),
        (["en/train.parquet", "fr/train.parquet"], "", "fr", "train", ["fr/train.parquet"]),
        (["train/data-0.arrow", "train/cache-1.arrow", ".x/train.arrow"], "", None, "train", ["train/data-0.arrow"]),
        (FILES, README, None, "train", ["many/a-0.parquet", "many/a-1.parquet", "many/b.parquet"]),
        (FILES, README, "small", "train", ["few/x.parquet"]),
        (["train.parquet"], "---\n- no\n---\n", None, "train", ["train.parquet"]),
    ],
)
def test_a_split_is_what_the_readme_says_or_the_names(
    tmp_path: Path, names: list[str], readme: str, config: str | None, split: str, found: list[str]
) -> None:
    root = written(tmp_path, {name: table(1) for name in names}, readme)
    assert [path.relative_to(root).as_posix() for path in split_files(root, config, split)] == found


@pytest.mark.parametrize(
    ("names", "readme", "config", "split", "words"),
    [
        ([], "", None, "train", "holds neither"),
        (["metadata.jsonl"], "", None, "train", "set layout: ImageFolder"),
        (["train.parquet"], "", None, "test", "has no split test; its files are train.parquet"),
        (["en/train.parquet"], "", "fr", "train", "has no split train of fr"),
        (FILES, README, None, "test", "README.md says that split test is in gone.parquet; no such file"),
        (FILES, README, None, "extra", "has no split extra"),
        (FILES, README, "tiny", "train", "has no configuration tiny; there are small, full"),
        (FILES, README.replace("  default: true\n", ""), None, "train", "has several configurations"),
    ],
)
def test_a_split_that_is_not_there_is_named(
    tmp_path: Path, names: list[str], readme: str, config: str | None, split: str, words: str
) -> None:
    root = written(tmp_path, {name: table(1) for name in names if name.endswith(".parquet")}, readme)
    for name in names:
        (root / name).touch()
    with pytest.raises(DatasetInvalid) as caught:
        split_files(root, config, split)
    assert words in str(caught.value)
