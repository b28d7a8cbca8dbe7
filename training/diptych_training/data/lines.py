"""Text files that nobody vouches for, read line by line: a line of any length costs no more memory than the limit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diptych_api.errors import DatasetInvalid
from diptych_diffusion.names import key_below

MAX_LINE_BYTES: Final = 2**20
TOO_LONG: Final = f"line longer than {MAX_LINE_BYTES} bytes"


def bounded_lines(root: Path, name: str) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and bytes of every line of ``name`` that is not blank; None stands for one that is too long."""
    with inside(root, name).open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                while not line.endswith(b"\n") and (line := file.readline(MAX_LINE_BYTES)):
                    pass
                yield number, None
            elif line.strip():
                yield number, line


def inside(root: Path, name: str) -> Path:
    """Return the file ``name`` below ``root``. Raises DatasetInvalid for a link that leads out, a pipe, a folder."""
    try:
        key_below(root, name)
    except ValueError as error:
        raise DatasetInvalid(f"{root / name}: {error}.", hint="Put the file itself into the folder.") from error
    return root / name
