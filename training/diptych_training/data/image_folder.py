"""The ImageFolder layout: pictures with metadata.jsonl or metadata.csv, as Hugging Face data sets have it."""

from collections.abc import Iterator
from pathlib import Path

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.json_lines import manifest_rows
from diptych_training.data.row import Row
from diptych_training.data.sample import Rejected
from diptych_training.data.table import csv_rows
from diptych_training.data.walk import pictures

JSON_NAME, CSV_NAME = "metadata.jsonl", "metadata.csv"


def rows(root: Path, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield the rows of metadata.jsonl, or of metadata.csv where there is no other."""
    if (root / JSON_NAME).exists():
        yield from manifest_rows(root, JSON_NAME, dataset)
    elif (root / CSV_NAME).exists():
        yield from csv_rows(root, CSV_NAME, dataset)
    elif dataset.writes_captions:
        yield from uncaptioned(root)
    else:
        raise _missing(root)


def uncaptioned(root: Path) -> Iterator[Row | Rejected]:
    """Yield the pictures of a tree that nobody has described yet."""
    for picture in pictures(root):
        yield picture if isinstance(picture, Rejected) else Row(None, picture, "", {})


def _missing(root: Path) -> DatasetInvalid:
    below = sorted(path.parent.name for path in root.glob(f"*/{JSON_NAME}"))
    if below:
        hint = f"There is one in {below[0]}/: name that folder."
    elif any(root.glob("*.jsonl")):
        hint = "The folder holds a *.jsonl manifest: set layout: JsonLines."
    else:
        hint = 'Each line of it names a picture and its caption: {"file_name": "1.png", "text": "a cat"}.'
    return DatasetInvalid(f"{root} has no {JSON_NAME}, which layout ImageFolder needs.", hint=hint)
