"""From a folder to samples: which file names the pictures, and what a usable name and caption are."""

from pathlib import Path

from diptych_api.dataset import Dataset, Layout
from diptych_api.errors import UnsupportedHere
from diptych_training.data import image_folder, json_lines
from diptych_training.data.names import key_below, shown
from diptych_training.data.row import Reader, Row
from diptych_training.data.sample import Rejected, Sample

READERS: dict[Layout, Reader] = {"ImageFolder": image_folder.rows, "JsonLines": json_lines.rows}
MAX_CAPTION_LETTERS = 10_000


def read_layout(root: Path, dataset: Dataset) -> tuple[list[Sample], list[Rejected]]:
    """Return the samples below ``root`` in the order of the layout, and the lines that make none.

    Reading ends at ``dataset.limit`` samples. Pictures are not opened.
    """
    reader = READERS.get(dataset.layout)
    if reader is None:
        raise UnsupportedHere(
            f"spec.dataset.layout: this version cannot read {dataset.layout}.",
            hint=f"It reads {' and '.join(READERS)}.",
        )
    samples: list[Sample] = []
    rejected: list[Rejected] = []
    seen: dict[Path, int] = {}
    for row in reader(root, dataset):
        if len(samples) == dataset.limit:
            break
        checked = row if isinstance(row, Rejected) else _check(root, row, seen)
        if isinstance(checked, Rejected):
            rejected.append(checked)
        else:
            samples.append(checked)
    return samples, rejected


def _check(root: Path, row: Row, seen: dict[Path, int]) -> Sample | Rejected:
    if not isinstance(row.name, str) or not row.name:
        return Rejected("", row.line, f"the picture's name is not text: {shown(row.name)}")
    try:
        captions = _captions(row.captions)
        key, real = key_below(root, row.name)
    except ValueError as error:
        return Rejected(shown(row.name, 200)[1:-1], row.line, str(error))
    first = seen.setdefault(real, row.line)
    if first != row.line:
        return Rejected(key, row.line, f"the same picture as line {first}")
    return Sample(key, root / key, captions, row.metadata, row.line)


def _captions(value: object) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    captions = dict.fromkeys(_caption(item) for item in given)
    usable = tuple(caption for caption in captions if caption)
    if not usable:
        raise ValueError("empty caption")
    return usable


def _caption(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"caption is not text: {shown(value)}")  # noqa: TRY004 (a reason for a line, not a bug)
    if len(value) > MAX_CAPTION_LETTERS:
        raise ValueError(f"caption longer than {MAX_CAPTION_LETTERS} letters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("caption is not Unicode text") from error
    return value.strip()
