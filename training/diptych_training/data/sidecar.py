"""The Sidecar layout: a text file for each picture, beside it or under ``captions/``; each line of it is a caption."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_diffusion.names import key_below
from diptych_training.data.row import Row
from diptych_training.data.sample import Rejected
from diptych_training.data.walk import pictures

PICTURES, CAPTIONS = "images", "captions"
SUFFIXES: Final = (".txt", ".caption")
MAX_BYTES: Final = 2**16


def rows(root: Path, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield a row for each picture, then what lies under ``captions/`` and belongs to none."""
    owners: dict[str, str] = {}
    for picture in pictures(root):
        yield picture if isinstance(picture, Rejected) else _row(root, picture, owners, dataset)
    if not owners and not dataset.writes_captions and not any(root.rglob(f"*{SUFFIXES[0]}")):
        raise DatasetInvalid(
            f"{root} holds no caption file.",
            hint="Write the caption of images/1.png to captions/1.txt, or to 1.txt beside the picture.",
        )
    for suffix in SUFFIXES:
        for path in sorted((root / CAPTIONS).rglob(f"*{suffix}")):
            name = path.relative_to(root).as_posix()
            if name not in owners:
                yield Rejected(name, None, "a caption without a picture")


def _row(root: Path, picture: str, owners: dict[str, str], dataset: Dataset) -> Row | Rejected:
    names = _candidates(picture)
    caption = next((name for name in names if os.path.lexists(root / name)), None)
    if caption is None and dataset.writes_captions:
        return Row(None, picture, "", {})
    if caption is None:
        return Rejected(picture, None, f"no caption file: neither {' nor '.join(names)}")
    owner = owners.setdefault(caption, picture)
    if owner != picture:
        return Rejected(picture, None, f"its caption {caption} belongs to {owner}")
    try:
        return Row(None, picture, _captions(root, caption), {})
    except (OSError, ValueError) as error:
        return Rejected(picture, None, f"{caption}: {error}")


def _candidates(picture: str) -> list[str]:
    beside = PurePosixPath(picture)
    below = beside.relative_to(PICTURES) if beside.parts[0] == PICTURES else beside
    places = (beside, PurePosixPath(CAPTIONS) / below)
    return [str(place.with_suffix(suffix)) for place in places for suffix in SUFFIXES]


def _captions(root: Path, name: str) -> list[str]:
    """Return the lines of a caption file. Raises ValueError with the reason, and OSError."""
    key_below(root, name)
    with (root / name).open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"longer than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
