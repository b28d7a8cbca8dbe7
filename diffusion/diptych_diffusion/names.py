"""File names that come from outside, and whether they stay inside."""

from functools import lru_cache
from pathlib import Path

from diptych_api.errors import DatasetInvalid

MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 1024
FIRST_PRINTABLE = 0x20


def safe_parts(name: str) -> tuple[str, ...]:
    """Return the components of an archive's or object store's file name; empty for the root itself.

    Raises DatasetInvalid for names that are absolute, lead up, or mean different files on different systems.
    """
    reason = _fault(name)
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if reason is None and any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        reason = f"has a part longer than {MAX_NAME_BYTES} bytes"
    if reason is not None:
        raise DatasetInvalid(
            f"The file name {shown(name)} {reason}.",
            hint="Pack the files again with plain relative names.",
        )
    return parts


def _fault(name: str) -> str | None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    faults = {
        "is absolute": name.startswith("/") or name[1:2] == ":",
        "leads up by '..'": ".." in name.split("/"),
        "holds a backslash": "\\" in name,
        "holds a control character": any(ord(letter) < FIRST_PRINTABLE for letter in name),
        f"is longer than {MAX_PATH_BYTES} bytes": size > MAX_PATH_BYTES,
    }
    return next((reason for reason, applies in faults.items() if applies), None)


def key_below(root: Path, name: str) -> tuple[str, Path]:
    """Return the sample key of the picture that a manifest calls ``name``, and the file that it is, links followed.

    The name is a path below ``root``, or an absolute one. Raises ValueError with the reason where it does not lead
    to a regular file inside ``root``.
    """
    try:
        name.encode()
        path = root / name
        real = path.resolve()
        found = real.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a NUL, not UTF-8
        raise ValueError("not a usable file name") from error
    if not real.is_relative_to(_resolved(root)):
        raise ValueError("lies outside the data set's folder")
    below = path.relative_to(root) if path.is_relative_to(root) else real.relative_to(_resolved(root))
    if ".." in below.parts:
        raise ValueError("leads up by '..'")
    if not found:
        raise ValueError("no such file")
    if not real.is_file():
        raise ValueError("not a regular file")
    return below.as_posix(), real


@lru_cache(maxsize=8)
def _resolved(root: Path) -> Path:
    return root.resolve()


def shown(text: object, limit: int = 80) -> str:
    """Return foreign text quoted, on one line and not too long, for a message."""
    quoted = ascii(text)
    return quoted if len(quoted) <= limit else f"{quoted[: limit - 1]}…"
