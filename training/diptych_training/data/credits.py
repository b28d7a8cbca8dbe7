"""Whose the pictures of a source are: its licence, and the files that tell."""

from pathlib import Path
from typing import Final

from diptych_training.data.hub_files import README, README_BYTES, front_matter

NAMES: Final = ("licen", "credit", "notice", "copying", "attribution")
"""How names of such files begin."""


def licence(root: Path) -> str | None:
    """Return the licence that the front matter of the source's README.md names."""
    told = front_matter(root).get("license")
    return told if isinstance(told, str) else None


def credit_files(root: Path) -> list[str]:
    """Return the names of the files at the top of the source that say whose the pictures are, small ones only."""
    return sorted(path.name for path in root.iterdir() if is_credit(path.name) and _is_small(path))


def is_credit(name: str) -> bool:
    """Whether a path of a source is such a file, by its name."""
    return "/" not in name and name.lower().startswith(NAMES)


def copy_credits(root: Path, folder: Path) -> None:
    """Copy those files and the README.md."""
    for name in [*credit_files(root), *([README] if _is_small(root / README) else [])]:
        (folder / name).write_bytes((root / name).read_bytes())


def _is_small(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= README_BYTES
