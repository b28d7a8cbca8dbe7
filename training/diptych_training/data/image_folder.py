"""The ImageFolder layout: pictures with metadata.jsonl or metadata.csv, as Hugging Face data sets have it."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.json_lines import MAX_LINE_BYTES, manifest_rows
from diptych_training.data.names import key_below
from diptych_training.data.row import Row, row_of
from diptych_training.data.sample import Rejected

JSON_NAME, CSV_NAME = "metadata.jsonl", "metadata.csv"


def rows(root: Path, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield the rows of metadata.jsonl, or of metadata.csv where there is no other."""
    if (root / JSON_NAME).exists():
        yield from manifest_rows(root, JSON_NAME, dataset)
    elif (root / CSV_NAME).exists():
        yield from _csv_rows(root, dataset)
    else:
        raise _missing(root)


def _csv_rows(root: Path, dataset: Dataset) -> Iterator[Row | Rejected]:
    try:
        key_below(root, CSV_NAME)
        with (root / CSV_NAME).open(encoding="utf-8-sig", newline="") as file:
            bounded = iter(partial(file.readline, MAX_LINE_BYTES), "")
            reader = csv.DictReader(bounded, strict=True)
            for fields in reader:
                if None in fields or None in fields.values():
                    yield Rejected("", reader.line_num, "not as many fields as the header has")
                else:
                    yield row_of(reader.line_num, fields, dataset)
    except (csv.Error, ValueError) as error:  # past a broken quote no line can be trusted
        raise DatasetInvalid(f"{root / CSV_NAME}: {error}.", hint="Write it as UTF-8 with a header line.") from error


def _missing(root: Path) -> DatasetInvalid:
    below = sorted(path.parent.name for path in root.glob(f"*/{JSON_NAME}"))
    if below:
        hint = f"There is one in {below[0]}/: name that folder."
    elif any(root.glob("*.jsonl")):
        hint = "The folder holds a *.jsonl manifest: set layout: JsonLines."
    else:
        hint = 'Each line of it names a picture and its caption: {"file_name": "1.png", "text": "a cat"}.'
    return DatasetInvalid(f"{root} has no {JSON_NAME}, which layout ImageFolder needs.", hint=hint)
