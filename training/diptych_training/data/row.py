"""What a layout reader yields, before names and captions are checked."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diptych_api.dataset import Dataset
from diptych_training.data.sample import Rejected

ALIASES: Final = {"file_name": ("path", "image", "image_name"), "text": ("caption", "comment")}
"""Names that stand for the default columns where these are absent: the manifests and tables of others."""
MAX_METADATA: Final = 32
MAX_LETTERS: Final = 256
"""Further columns that are kept for each picture, and how long their values may be."""


@dataclass(frozen=True, slots=True)
class Row:
    """One picture as a file names it; nothing in it can be trusted yet."""

    line: int | None
    """Counted from 1; None where a layout has no lines."""
    name: object
    captions: object
    metadata: Mapping[str, str]


Reader = Callable[[Path, Dataset], Iterator[Row | Rejected]]
"""Reads one layout below a root. Raises DatasetInvalid where the layout itself is missing."""


def row_of(line: int, fields: Mapping[str, object], dataset: Dataset) -> Row | Rejected:
    """Return the row that these fields make, or why they make none."""
    picture, caption = (column(fields, name) for name in (dataset.image_column, dataset.caption_column))
    if picture is not None and caption is None and dataset.writes_captions:
        return Row(line, fields[picture], "", short({name: v for name, v in fields.items() if name != picture}))
    if picture is None or caption is None:
        wanted = dataset.image_column if picture is None else dataset.caption_column
        name = fields.get(picture) if picture is not None else ""
        there = ", ".join(str(field) for field in list(fields)[:10])
        return Rejected(name if isinstance(name, str) else "", line, f"no field {wanted}; there is: {there}"[:300])
    rest = short({name: value for name, value in fields.items() if name not in {picture, caption}})
    return Row(line, fields[picture], fields[caption], rest)


def short(fields: Mapping[str, object]) -> dict[str, str]:
    """Return the plain fields that are worth keeping for each picture, as text."""
    plain = {name: str(value) for name, value in fields.items() if isinstance(value, str | int | float)}
    kept = [item for item in plain.items() if max(map(len, item)) <= MAX_LETTERS]
    return dict(kept[:MAX_METADATA])


def column(fields: Mapping[str, object], name: str) -> str | None:
    """Return the field that is called ``name``, or by an alias of a default."""
    return next((column for column in (name, *ALIASES.get(name, ())) if column in fields), None)
