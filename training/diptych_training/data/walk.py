"""The pictures of a folder tree, in the same order everywhere, and what might be one but cannot be read."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diptych_diffusion.names import shown
from diptych_diffusion.staging import JUNK
from diptych_training.data.sample import Rejected

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"})
UNREAD: Final = frozenset(
    {".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".ico", ".dng", ".cr2", ".nef", ".arw"}
)
"""Pictures that nobody shall miss in silence; everything else, such as text, is no picture and is passed over."""
MAX_DEPTH: Final = 32


def pictures(root: Path) -> Iterator[str | Rejected]:
    """Yield the path below ``root`` of each picture, folder by folder and by name; hidden names are passed over."""
    yield from _pictures(root, "", 0)


def _pictures(root: Path, below: str, depth: int) -> Iterator[str | Rejected]:
    if depth > MAX_DEPTH:
        yield _rejected(below, f"more than {MAX_DEPTH} folders deep")
        return
    try:
        entries = _entries(root / below)
    except OSError as error:
        yield _rejected(below, f"a folder that cannot be read: {error.strerror}")
        return
    for name, kind in entries:
        path, suffix = below + name, os.path.splitext(name)[1].lower()  # noqa: PTH122 -- a million Paths cost a minute
        if kind == "link":
            yield _rejected(path, "links to folders are not followed")
        elif kind == "folder":
            yield from _pictures(root, f"{path}/", depth + 1)
        elif suffix in UNREAD:
            yield _rejected(path, f"{suffix} is not read; JPEG, PNG, WEBP, BMP and TIFF are")
        elif suffix in SUFFIXES:
            yield path


def _entries(folder: Path) -> list[tuple[str, str]]:
    with os.scandir(folder) as found:
        visible = [entry for entry in found if not entry.name.startswith(".") and entry.name not in JUNK]
        return sorted((entry.name, _kind(entry)) for entry in visible)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return "link" if entry.is_symlink() else "folder"
    except OSError:  # a loop of links: whoever opens it says so
        pass
    return "file"


def _rejected(path: str, reason: str) -> Rejected:
    return Rejected(shown(path, 200)[1:-1], None, reason)
