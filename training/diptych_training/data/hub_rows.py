"""The rows of Parquet and Arrow files, a few at a time, so that a file of any size costs little memory.

pyarrow reads them, which comes with Ray. The datasets library would first copy everything into a cache of its own.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.row import MAX_METADATA, column

AT_ONCE: Final = 16
BUFFER_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class HubRow:
    """One row; nothing in it can be trusted yet."""

    file: str
    number: int
    """In its file, counted from 1."""
    picture: object
    captions: object
    metadata: Mapping[str, object]


def hub_rows(path: Path, dataset: Dataset, *, pictures: bool = True) -> Iterator[HubRow]:
    """Yield the rows of one file that ``dataset.where`` asks for; without ``pictures`` that column is not read.

    Raises DatasetInvalid where columns are missing or the file is broken.
    """
    with _faults_named(path):
        columns = _Columns.of(path, _schema(path), dataset)
        words = [] if columns.caption is None else [columns.caption]
        names = [*([columns.picture] if pictures else []), *words, *columns.metadata]
        number = 0
        for batch in _batches(path, names):
            batch.validate(full=True)  # or the offsets of a hostile file lead anywhere
            for fields in batch.to_pylist():
                number += 1
                told = {name: columns.label(name, fields[name]) for name in names}
                metadata = {name: told[name] for name in columns.metadata}
                if all(str(metadata[name]) == value for name, value in dataset.where.items()):
                    caption = "" if columns.caption is None else told[columns.caption]
                    yield HubRow(path.name, number, told.get(columns.picture), caption, metadata)


def row_count(path: Path) -> int:
    """Return the number of rows of a file; only its outlines are read."""
    with _faults_named(path):
        if path.suffix == ".parquet":
            return int(pq.read_metadata(path).num_rows)
        return sum(len(batch) for batch in _arrow(path))


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DatasetInvalid(f"{path} cannot be read: {reason:.300}", hint="Download it anew.") from error


@dataclass(frozen=True, slots=True)
class _Columns:
    picture: str
    caption: str | None
    """None where captions will be written and the file has no column for them."""
    metadata: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    """Names of the classes that a column of numbers stands for."""

    @classmethod
    def of(cls, path: Path, schema: pa.Schema, dataset: Dataset) -> "_Columns":
        there = dict.fromkeys(schema.names)
        plain = {field.name for field in schema if _is_plain(field.type)}
        picture = _found(path, there, "imageColumn", dataset.image_column)
        caption = column(there, dataset.caption_column)
        if caption is None and not dataset.writes_captions:
            raise _missing(path, there, "captionColumn", dataset.caption_column)
        asked = [_found(path, dict.fromkeys(n for n in there if n in plain), "where", name) for name in dataset.where]
        rest = [name for name in dict.fromkeys([*asked, *there]) if name in plain - {picture, caption}]
        return cls(picture, caption, tuple(rest[:MAX_METADATA]), _labels(schema))

    def label(self, name: str, value: object) -> object:
        """Return the class's name for its number, and anything else as it is."""
        names = self.labels.get(name, ())
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _found(path: Path, there: Mapping[str, object], option: str, name: str) -> str:
    found = column(there, name)
    if found is None:
        raise _missing(path, there, option, name)
    return found


def _missing(path: Path, there: Mapping[str, object], option: str, name: str) -> DatasetInvalid:
    return DatasetInvalid(
        f"{path} has no column {name} for spec.dataset.{option}.", hint=f"There is: {', '.join(there) or 'none'}."
    )


def _is_plain(kind: pa.DataType) -> bool:
    tests = ("is_integer", "is_floating", "is_string", "is_large_string", "is_boolean")
    return any(getattr(pa.types, test)(kind) for test in tests)


def _labels(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: tuple(str(label) for label in about["names"])
            for name, about in features.items()
            if isinstance(about, dict) and about.get("_type") == "ClassLabel"
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _schema(path: Path) -> pa.Schema:
    if path.suffix == ".parquet":
        return pq.read_schema(path)
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        return reader.schema


def _batches(path: Path, names: list[str]) -> Iterator[Any]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
            yield from file.iter_batches(AT_ONCE, columns=names, use_threads=False)
        return
    for batch in _arrow(path):
        chosen = batch.select(names)
        yield from (chosen.slice(start, AT_ONCE) for start in range(0, len(chosen), AT_ONCE))


def _arrow(path: Path) -> Iterator[Any]:
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        yield from reader
