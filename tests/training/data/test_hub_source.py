"""Data sets of the hub: the real client, and a hub on this machine."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid, HubAuth, RetryLater
from diptych_api.sources import DatasetSource
from diptych_training.data.manifest import prepare
from diptych_training.data.source import open_source
from support.hub import COMMIT, REPO, Hub, hub_of, impatient

Make = Callable[..., Dataset]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (tmp_path / "hub" / "images").mkdir(parents=True)
    with hub_of(tmp_path / "hub", "datasets") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        impatient(monkeypatch)
        monkeypatch.setenv("READ_TOKEN", "hf_secret")
        yield hub


def source(**fields: object) -> DatasetSource:
    token = {"name": "hub", "key": "READ_TOKEN"}
    about = {"repo": REPO, "revision": COMMIT, "token": token} | fields
    return DatasetSource.model_validate({"huggingFace": about})


def filled(hub: Hub) -> Hub:
    PIL.Image.new("RGB", (8, 8)).save(hub.folder / "images" / "a[1].png")
    (hub.folder / "metadata.jsonl").write_text('{"file_name": "images/a[1].png", "text": "a"}\n')
    (hub.folder / "loader.py").write_text("raise SystemExit")
    return hub


def names_in(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(name for path in files if not (name := path.relative_to(folder).as_posix()).startswith("."))


def test_pictures_and_listings_come_once_and_no_code(hub: Hub, tmp_path: Path) -> None:
    filled(hub).reader = "hf_secret"
    found = open_source(source(), tmp_path / "work")
    assert names_in(found) == ["images/a[1].png", "metadata.jsonl"]
    hub.refusal = 500
    assert open_source(source(), tmp_path / "work") == found


def test_of_tables_only_the_split_that_is_asked_for_comes(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "data").mkdir()
    for name in ("train-0", "train-1", "test-0"):
        pq.write_table(pa.table({"text": [name]}), hub.folder / "data" / f"{name}.parquet")
    (hub.folder / "README.md").write_text("---\nlicense: mit\n---\n")
    found = open_source(source(), tmp_path / "work")
    assert names_in(found) == ["README.md", "data/train-0.parquet", "data/train-1.parquet"]
    assert names_in(open_source(source(split="test"), tmp_path / "work")) == ["README.md", "data/test-0.parquet"]
    with pytest.raises(DatasetInvalid, match="no split nothing"):
        open_source(source(split="nothing"), tmp_path / "work")


def test_of_a_split_come_no_more_tables_than_its_limit_needs(hub: Hub, tmp_path: Path, dataset: Make) -> None:
    """A table counts for the rows that are asked for and have a picture, as if the whole split were here."""
    (hub.folder / "data").mkdir()
    pixels = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(pixels, "PNG")
    for number in range(4):
        pictures = [{"bytes": None if row == 1 else pixels.getvalue()} for row in range(4)]
        about = {"text": [f"{number} {row}" for row in range(4)], "kind": ["ink", "ink", "oil", "ink"]}
        pq.write_table(pa.table({"image": pictures} | about), hub.folder / "data" / f"train-{number}.parquet")

    def prepared(folder: Path, **changes: object) -> list[str]:
        spec = dataset(tmp_path, layout="HubDataset", where={"kind": "ink"}, badSamples={"maxFraction": 0.5}, **changes)
        spec = spec.model_copy(update={"source": source()})
        return [entry.captions[0] for entry in prepare(spec, folder, lambda _done, _total: None).train]

    assert prepared(tmp_path / "work", limit=3) == ["0 0", "0 3", "1 0"]
    (found,) = (tmp_path / "work").glob("hub-*/data")
    assert names_in(found) == ["train-0.parquet", "train-1.parquet"]
    assert len(prepared(tmp_path / "work", limit=2)) == 2
    every = prepared(tmp_path / "work")
    assert (len(every), len(names_in(found))) == (8, 4)
    hub.refusal = 500
    assert prepared(tmp_path / "work", limit=5) == every[:5], "it is all here"


def test_what_a_cut_left_out_comes_in_the_next_try(hub: Hub, tmp_path: Path) -> None:
    filled(hub).cuts, hub.dies = ["images/a[1].png"], True
    with pytest.raises(RetryLater):
        open_source(source(), tmp_path / "work")
    hub.refusal = None
    found = open_source(source(), tmp_path / "work")
    assert (found / "images" / "a[1].png").read_bytes() == (hub.folder / "images" / "a[1].png").read_bytes()


@pytest.mark.parametrize(
    ("status", "error"), [(401, HubAuth), (403, HubAuth), (404, DatasetInvalid), (418, RetryLater)]
)
def test_a_refusal_names_the_repository(hub: Hub, tmp_path: Path, status: int, error: type[Exception]) -> None:
    hub.refusal = status
    with pytest.raises(error, match=REPO):
        open_source(source(), tmp_path / "work")


def test_a_repository_without_pictures_is_named(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "loader.py").write_text("raise SystemExit")
    with pytest.raises(DatasetInvalid, match="neither pictures nor listings"):
        open_source(source(), tmp_path / "work")


def test_captions_beside_pictures_and_whose_they_are_come_along(hub: Hub, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(hub.folder / "images" / "a.jfif", "JPEG")
    (hub.folder / "images" / "a.caption").write_text("a drawing")
    for name in ("LICENSE", "CREDITS.md", "table.tsv"):
        (hub.folder / name).write_text("x")
    folder = open_source(source(), tmp_path / "work")
    assert {"images/a.jfif", "images/a.caption", "LICENSE", "CREDITS.md", "table.tsv"} <= set(names_in(folder))


def test_a_folder_of_a_repository_may_be_named_by_its_uri(hub: Hub, tmp_path: Path) -> None:
    filled(hub)
    place = f"hf://datasets/{REPO}@{COMMIT}"
    assert names_in(open_source(DatasetSource(uri=place), tmp_path / "work")) == names_in(hub.folder)
    assert names_in(open_source(DatasetSource(uri=f"{place}/images"), tmp_path / "work")) == ["a[1].png"]
    with pytest.raises(DatasetInvalid, match=r"There is nothing at hf://|Cannot read hf://"):
        open_source(DatasetSource(uri=f"{place}/nothing"), tmp_path / "work")


@pytest.mark.parametrize("status", [401, 404, 418])
def test_a_refused_uri_says_what_the_hub_said(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.refusal = status
    with pytest.raises(DatasetInvalid, match=rf"hf://datasets/{REPO}.*{status}"):
        open_source(DatasetSource(uri=f"hf://datasets/{REPO}@{COMMIT}"), tmp_path / "work")
