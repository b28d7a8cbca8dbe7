"""The JsonLines layout: a manifest with one JSON object a line, beside or above the pictures."""

import json
from collections.abc import Iterator
from pathlib import Path

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.lines import TOO_LONG, bounded_lines
from diptych_training.data.row import Row, row_of
from diptych_training.data.sample import Rejected

PREFERRED = ("manifest.jsonl", "train.jsonl")


def rows(root: Path, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield the rows of the folder's manifest: its only ``*.jsonl``, or else manifest.jsonl, or else train.jsonl."""
    names = sorted(path.name for path in root.glob("*.jsonl"))
    chosen = names[:1] if len(names) == 1 else [name for name in PREFERRED if name in names]
    if not names:
        raise DatasetInvalid(
            f"{root} holds no *.jsonl manifest.",
            hint='Each line of one names a picture and its caption: {"path": "images/1.png", "caption": "a cat"}.',
        )
    if not chosen:
        raise DatasetInvalid(
            f"{root} holds several manifests: {', '.join(names[:10])}.",
            hint="Call the one to read manifest.jsonl, or keep it alone in the folder.",
        )
    yield from manifest_rows(root, chosen[0], dataset)


def manifest_rows(root: Path, name: str, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield a row for each line of the manifest ``name``; empty lines are passed over."""
    for number, line in bounded_lines(root, name):
        yield Rejected("", number, TOO_LONG) if line is None else _parse(number, line, dataset)


def _parse(number: int, line: bytes, dataset: Dataset) -> Row | Rejected:
    try:
        fields = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # also bytes that are not UTF-8 and numbers without end
        return Rejected("", number, f"not JSON: {error}"[:300])
    if not isinstance(fields, dict):
        return Rejected("", number, f"not a JSON object but {type(fields).__name__}")
    return row_of(number, fields, dataset)
