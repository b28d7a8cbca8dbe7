"""From a folder to samples: which file names the pictures, and what a usable name and caption are."""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from diptych_api.dataset import Dataset, Layout
from diptych_api.errors import DatasetInvalid
from diptych_diffusion.names import key_below, shown
from diptych_training.data import (
    caption_table,
    class_folders,
    flickr30k,
    hub_listing,
    image_folder,
    json_lines,
    sidecar,
)
from diptych_training.data.row import Reader, Row
from diptych_training.data.sample import Rejected, Sample

READERS: Final[Mapping[Layout, Reader]] = {
    "ImageFolder": image_folder.rows,
    "JsonLines": json_lines.rows,
    "ClassFolders": class_folders.rows,
    "CaptionTable": caption_table.rows,
    "Flickr30k": flickr30k.rows,
    "Sidecar": sidecar.rows,
    "HubDataset": hub_listing.rows,
}
TABLES: Final[frozenset[Layout]] = frozenset({"CaptionTable", "Flickr30k"})
"""Layouts in which a picture may stand in several rows, each with one more caption."""
MAX_CAPTION_LETTERS: Final = 10_000
MISSING: Final = frozenset({"nan", "<na>", "null", "none"})
"""What programs write where there is no caption."""


def read_layout(root: Path, dataset: Dataset) -> tuple[list[Sample], list[Rejected]]:
    """Return the samples below ``root`` in the order of the layout, and the rows that make none.

    Reading ends at ``dataset.limit`` samples. Pictures are not opened.
    """
    gathered = _Gathered(root, dataset)
    for row in READERS[dataset.layout](root, dataset):
        if gathered.is_full:
            break
        gathered.take(row)
    gathered.refuse_unknown_columns()
    return gathered.samples, gathered.rejected


def rows_of(samples: Iterable[Sample], rejected: Sized) -> int:
    """Return the rows of the layout that these came from."""
    return len(rejected) + sum(sample.rows for sample in samples)


@dataclass
class _Gathered:
    """Samples and rejected rows so far."""

    root: Path
    dataset: Dataset
    samples: list[Sample] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    """Columns that can be asked for by ``where``."""
    places: dict[str, int] = field(default_factory=dict)
    """Which sample a file is, links followed."""

    @property
    def is_full(self) -> bool:
        """Whether no row can add anything: a table may have more captions of pictures that are in."""
        return self._has_enough and self.dataset.layout not in TABLES

    @property
    def _has_enough(self) -> bool:
        return len(self.samples) == self.dataset.limit

    def take(self, row: Row | Rejected) -> None:
        """Add a row to the samples or to the rejected ones, unless it is one that nobody asked for."""
        if isinstance(row, Row):
            self.columns.update(row.metadata)
            if any(row.metadata.get(column) != value for column, value in self.dataset.where.items()):
                return
        rejected = row if isinstance(row, Rejected) else self._add(row)
        if rejected is not None:
            self.rejected.append(rejected)

    def _add(self, row: Row) -> Rejected | None:
        if not isinstance(row.name, str) or not row.name:
            return Rejected("", row.line, f"the picture's name is not text: {shown(row.name)}")
        try:
            captions = captions_of(row.captions, self.dataset)
            key, real = key_below(self.root, row.name)
        except ValueError as error:
            return Rejected(shown(row.name, 200)[1:-1], row.line, str(error))
        place = self.places.get(str(real))
        if place is None:
            if not self._has_enough:
                self.places[str(real)] = len(self.samples)
                self.samples.append(Sample(key, self.root / key, captions, row.metadata, row.line))
            return None
        first = self.samples[place]
        if self.dataset.layout not in TABLES:
            return Rejected(key, row.line, f"the same picture as {first.place}")
        both = tuple(dict.fromkeys(first.captions + captions))
        self.samples[place] = replace(first, captions=both, rows=first.rows + 1)
        return None

    def refuse_unknown_columns(self) -> None:
        """Raise DatasetInvalid where ``where`` names a column that no row has."""
        unknown = [column for column in self.dataset.where if column not in self.columns]
        if unknown:
            raise DatasetInvalid(
                f"spec.dataset.where: no row has a column {unknown[0]}.",
                hint=f"There is: {', '.join(sorted(self.columns)[:10]) or 'no further column'}.",
            )


class UncaptionedError(ValueError):
    """There is no caption where one could be."""


def captions_of(value: object, dataset: Dataset) -> tuple[str, ...]:
    """Return the captions of a picture; none where they will be written. Raises ValueError with the reason."""
    try:
        return usable_captions(value)
    except UncaptionedError:
        if dataset.writes_captions:
            return ()
        raise


def usable_captions(value: object) -> tuple[str, ...]:
    """Return the captions of a picture, each once. Raises ValueError with the reason where there is none."""
    given = value if isinstance(value, list) else [value]
    captions = dict.fromkeys(_caption(item) for item in given)
    usable = tuple(caption for caption in captions if caption)
    if not usable:
        raise UncaptionedError("empty caption")
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
    caption = value.strip()
    if caption.lower() in MISSING:
        raise UncaptionedError(f"caption is missing: {caption}")
    return caption
