"""Sheets of a prepared data set for people to look at: pictures with their captions, and groups of near-duplicates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from diptych_api.dataset import Image
from diptych_api.errors import DatasetInvalid
from diptych_training.data.entry import Entry, Manifest
from diptych_training.data.filters import Dropped
from diptych_training.data.picture import decode, read_bytes, rgb
from diptych_training.data.split import order
from diptych_training.grids import CELL, GridRow, compare_grid

SHOWN: Final = 40
ACROSS: Final = 10
"""Pictures in a column of the preview."""
GROUPS: Final = 24
COPIES: Final = 4


def preview(manifest: Manifest, image: Image, shown: int = SHOWN) -> PIL.Image.Image:
    """Return some of the training pictures, drawn evenly and the same each time, with their first captions."""
    chosen = sorted(manifest.train, key=lambda entry: order(entry.key, 0))[:shown]
    rows = [_row(entry, image.background) for entry in sorted(chosen, key=lambda entry: entry.key)]
    note = f"{len(chosen)} of {len(manifest.train):,} training pictures · {len(manifest.held_out):,} held out"
    return compare_grid(rows, ["picture"], rows_each=ACROSS, note=f"{note} · {manifest.digest[:12]}")


def duplicates(manifest: Manifest, image: Image) -> PIL.Image.Image | None:
    """Return the picture that is kept of each group beside those that are not; None where there is no group."""
    groups = grouped_copies(manifest.dropped)
    shown = list(groups.items())[:GROUPS]
    if not shown:
        return None
    rows = [
        GridRow(
            f"{kept} and {len(copies)} more",
            tuple(_thumbnail(manifest.root / key, image.background) for key in (kept, *copies[:COPIES])),
        )
        for kept, copies in shown
    ]
    most = max(len(row.pictures) for row in rows)
    columns = ["kept", "left out", *[""] * (most - 2)]
    note = f"{len(shown)} of {len(groups):,} groups · {sum(map(len, groups.values())):,} pictures left out"
    return compare_grid(rows, columns, rows_each=ACROSS, note=note)


def grouped_copies(dropped: Sequence[Dropped]) -> dict[str, list[str]]:
    """Return the copies that were left out by the picture that stands for them."""
    groups: dict[str, list[str]] = {}
    for each in dropped:
        if each.like is not None:
            groups.setdefault(each.like, []).append(each.key)
    return groups


def _row(entry: Entry, background: str) -> GridRow:
    return GridRow(entry.captions[0], (_thumbnail(entry.path, background),))


def _thumbnail(path: Path, background: str) -> NDArray[np.uint8] | None:
    """Return a small copy of a picture; None where its file is no longer what it was."""
    try:
        picture = rgb(decode(read_bytes(path)), background)
    except DatasetInvalid:
        return None
    picture.thumbnail((CELL, CELL), PIL.Image.Resampling.LANCZOS)
    return np.asarray(picture)
