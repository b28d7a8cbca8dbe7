"""Tables of pictures and captions: CSV with a header, in whatever delimiter, and where the pictures lie beside it."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.lines import MAX_LINE_BYTES, inside
from diptych_training.data.row import Row, row_of
from diptych_training.data.sample import Rejected

DELIMITERS: Final = ",\t;|"
PICTURE_FOLDERS: Final = ("", "images/", "Images/", "flickr30k_images/", "flickr30k_images/flickr30k_images/")
"""Where tables in circulation keep the pictures that they call by bare names."""


def csv_rows(root: Path, name: str, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield the rows of a CSV file with a header; its delimiter is the one that the header has most of."""
    line = 0
    try:
        with inside(root, name).open(encoding="utf-8-sig", newline="") as file:
            bounded = iter(partial(file.readline, MAX_LINE_BYTES), "")
            header = next(bounded, "")
            delimiter = max(DELIMITERS, key=header.count)
            reader = csv.reader(bounded, delimiter=delimiter, strict=True, skipinitialspace=True)
            columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
            for fields in reader:
                line = reader.line_num + 1
                if fields and len(fields) != len(columns):
                    yield Rejected("", line, "not as many fields as the header has")
                elif fields:
                    yield row_of(line, dict(zip(columns, fields, strict=True)), dataset)
    except (csv.Error, ValueError) as error:  # past a broken quote no line can be trusted
        raise DatasetInvalid(
            f"{root / name} after line {max(line, 1)}: {error}.",
            hint="Write it as UTF-8 with a header line; fields with quotes or delimiters stand in quotes.",
        ) from error


def located(root: Path, rows: Iterator[Row | Rejected]) -> Iterator[Row | Rejected]:
    """Yield the rows, each bare picture name led by the folder that has it."""
    folders = [folder for folder in PICTURE_FOLDERS if (root / folder).is_dir()]
    for row in rows:
        if isinstance(row, Row) and isinstance(row.name, str):
            yield Row(row.line, _place(root, folders, row.name), row.captions, row.metadata)
        else:
            yield row


def _place(root: Path, folders: list[str], name: str) -> str:
    try:
        return next((folder + name for folder in folders if (root / folder / name).is_file()), name)
    except (OSError, ValueError):  # no name of a file; whoever opens it says why
        return name
