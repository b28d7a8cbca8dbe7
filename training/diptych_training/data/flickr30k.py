"""The Flickr30k layout: ``results.csv`` as it was published, with its faults.

Fields are parted by ``|`` and never quoted, so the csv module would take a caption's quotes for its own. The header's
names have spaces around them; some copies are comma-separated CSV.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_diffusion.names import shown
from diptych_training.data.caption_table import table_name
from diptych_training.data.lines import TOO_LONG, bounded_lines
from diptych_training.data.row import Row, row_of
from diptych_training.data.sample import Rejected
from diptych_training.data.table import csv_rows, located

NAMES: Final = ("results.csv", "results_20130124.token.csv", "flickr30k_images/results.csv")
BAR: Final = b"|"


def rows(root: Path, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield the rows of results.csv; one that lacks a delimiter is rejected, not guessed at."""
    name = table_name(root, NAMES)
    lines = bounded_lines(root, name)
    number, header = next(lines, (1, b""))
    if header is None or BAR not in header:
        yield from located(root, csv_rows(root, name, dataset))
        return
    columns = [column.strip() for column in _text(root / name, number, header).split("|")]
    yield from located(root, _rows(lines, columns, dataset))


def _rows(lines: Iterator[tuple[int, bytes | None]], columns: list[str], dataset: Dataset) -> Iterator[Row | Rejected]:
    for number, line in lines:
        if line is None:
            yield Rejected("", number, TOO_LONG)
            continue
        try:
            fields = [field.strip() for field in line.decode().split("|", len(columns) - 1)]
        except UnicodeDecodeError:
            yield Rejected("", number, "not UTF-8")
            continue
        if len(fields) < len(columns):
            reason = f"{len(fields)} of {len(columns)} fields, a | is missing: {shown(fields[-1])}"
            yield Rejected(shown(fields[0])[1:-1], number, reason)
        else:
            yield row_of(number, dict(zip(columns, fields, strict=True)), dataset)


def _text(path: Path, number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetInvalid(f"{path}, line {number}: not UTF-8.", hint="Write it as UTF-8.") from error
