"""The CaptionTable layout: a CSV file in which a picture may stand in several rows, one for each caption."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.row import Row
from diptych_training.data.sample import Rejected
from diptych_training.data.table import csv_rows, located

NAMES: Final = ("captions.csv", "captions.tsv", "captions.txt")


def rows(root: Path, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield the rows of captions.csv, captions.tsv or captions.txt, or else of the folder's only ``*.csv``."""
    yield from located(root, csv_rows(root, table_name(root, NAMES), dataset))


def table_name(root: Path, names: tuple[str, ...]) -> str:
    """Return the name of the table to read. Raises DatasetInvalid where there is none, or no telling which."""
    found = [name for name in names if (root / name).exists()]
    others = sorted(path.name for path in root.glob("*.csv"))
    if not found and len(others) != 1:
        there = f"it holds several tables: {', '.join(others[:10])}" if others else "it holds no *.csv either"
        raise DatasetInvalid(
            f"{root} has no {' or '.join(names)}; {there}.",
            hint="The table's first line names its columns, such as image,caption.",
        )
    return (found or others)[0]
