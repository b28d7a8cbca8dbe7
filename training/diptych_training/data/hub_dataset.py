"""The HubDataset layout: Parquet or Arrow files with a column of pictures, as the Hugging Face hub's data sets have it.

The chosen rows become a folder of picture files and a listing, once; from there on it is a data set like any other.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_diffusion.archive import Limits
from diptych_diffusion.names import key_below, shown
from diptych_diffusion.staging import FILES, full_disk_named, is_complete, staged
from diptych_training.data.credits import copy_credits
from diptych_training.data.hub_files import split_files
from diptych_training.data.hub_listing import LISTING
from diptych_training.data.hub_rows import hub_rows, row_count
from diptych_training.data.row import short

VERSION: Final = 2
IN_A_FOLDER: Final = 10_000
MAX_PICTURE_BYTES: Final = 32 * 2**20
MAGIC: Final = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp", b"BM": ".bmp", b"II*": ".tif", b"MM": ".tif"}


def hub_files(root: Path, dataset: Dataset) -> list[Path]:
    """Return the files of the configuration and split that the source names."""
    repository = dataset.source.hugging_face
    return split_files(root, repository.config, repository.split) if repository else split_files(root, None, "train")


def unpack(root: Path, dataset: Dataset, workdir: Path, report: Callable[[int, int], None]) -> Path:
    """Return the folder of the chosen rows' pictures below ``workdir``; it is made once.

    ``report(done, total)`` hears of each row. Raises DatasetInvalid and StoreUnwritable.
    """
    files = hub_files(root, dataset)
    final = workdir / _identity(files, dataset)
    if not is_complete(final):
        with full_disk_named(workdir), staged(final) as folder, (folder / LISTING).open("xb") as listing:
            copy_credits(root, folder)
            total = sum(row_count(path) for path in files)
            for done, line in _lines(root, files, dataset, folder):
                listing.write(json.dumps(line, default=_unwritable).encode() + b"\n")
                report(done, total)
    return final / FILES


@dataclass(slots=True)
class First:
    """Takes tables until they hold as many rows with a picture as the data set's limit asks for."""

    dataset: Dataset
    kept: int = 0

    @classmethod
    def of(cls, dataset: Dataset) -> Self | None:
        """Return what takes the data set's tables; None where it takes all of them."""
        return None if dataset.limit is None or dataset.layout != "HubDataset" else cls(dataset)

    @property
    def choice(self) -> object:
        """All that decides which rows are taken."""
        return _choice(self.dataset)

    def enough(self, root: Path, table: Path) -> bool:
        """Count the rows of one more table."""
        for row in hub_rows(table, self.dataset):
            with suppress(OSError, ValueError):
                _picture(root, row.picture)
                self.kept += 1
            if self.kept == self.dataset.limit:
                return True
        return False


def _choice(dataset: Dataset) -> list[object]:
    return [dataset.image_column, dataset.caption_column, sorted(dataset.where.items()), dataset.limit]


def _identity(files: list[Path], dataset: Dataset) -> str:
    """Return what the unpacked folder depends on, as a digest."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256(json.dumps([VERSION, digests, _choice(dataset)]).encode()).hexdigest()


def _lines(root: Path, files: list[Path], dataset: Dataset, folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Write the picture of each row; yield the rows gone through and the row's line of the listing."""
    kept, size, before = 0, 0, 0
    for index, path in enumerate(files):
        for row in hub_rows(path, dataset):
            line: dict[str, Any] = {"file": row.file, "row": row.number}
            try:
                data = _picture(root, row.picture)
            except (OSError, ValueError) as error:
                yield before + row.number, {**line, "reason": str(error)}
                continue
            kept, size = kept + 1, size + len(data)
            if size > Limits().total_bytes:
                raise _too_much(root)
            name = _write(folder, index, row.number, data)
            line |= {"name": name, "captions": row.captions, "metadata": short(row.metadata)}
            yield before + row.number, line
            if kept == dataset.limit:
                return
        before += row_count(path)


def _too_much(root: Path) -> DatasetInvalid:
    return DatasetInvalid(
        f"The pictures of {root} take more than {Limits().total_bytes} bytes.",
        hint="Take fewer by spec.dataset.limit or where.",
    )


def _picture(root: Path, value: object) -> bytes:
    """Return a picture's file. Raises ValueError or OSError where the row has none."""
    inner: object = value
    if isinstance(value, dict):
        inner = value.get("bytes") or value.get("path")
    if isinstance(inner, str):
        if "://" in inner:
            raise ValueError(f"the picture is a link, which is not followed: {shown(inner)}")
        _, path = key_below(root, inner)
        with path.open("rb") as file:
            inner = file.read(MAX_PICTURE_BYTES + 1)
    if not isinstance(inner, bytes) or not inner:
        raise ValueError(f"no picture but {shown(value)}")
    if len(inner) > MAX_PICTURE_BYTES:
        raise ValueError(f"more than {MAX_PICTURE_BYTES} bytes")
    return inner


def _write(folder: Path, file: int, row: int, data: bytes) -> str:
    """Write a picture and return its name, which its place decides: it is the same whatever else is chosen."""
    suffix = next((suffix for magic, suffix in MAGIC.items() if data.startswith(magic)), ".img")
    name = f"{file:05}-{row // IN_A_FOLDER:04}/{row:08}{suffix}"
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return name


def _unwritable(_: object) -> None:
    """Stand for a value that JSON does not know, such as bytes for a caption: it is refused as no text."""
