"""Copies of what lies in an object store: whole or not at all, and refusals in words for people."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fsspec import AbstractFileSystem

from diptych_api.errors import DiptychError, RetryLater, UnsupportedHere, UserError

REFUSED: Final = frozenset({401, 403, 404})
"""What a server answers to a wrong name or wrong credentials."""


@contextmanager
def refusals(uri: str, invalid: type[UserError]) -> Iterator[None]:
    """Turn what a store raises into UnsupportedHere, RetryLater or, where the place itself is wrong, ``invalid``."""
    try:
        yield
    except DiptychError:
        raise
    except (ImportError, ValueError) as cause:
        raise UnsupportedHere(f"{uri} cannot be opened: {cause}", hint="Give s3://, gs://, hf:// or a path.") from cause
    except (FileNotFoundError, PermissionError) as cause:
        raise invalid(f"{uri} cannot be read: {cause}", hint="Check the name and the credentials.") from cause
    except Exception as cause:  # each store's package raises kinds of its own
        if answered(cause) in REFUSED:
            raise invalid(f"{uri} cannot be read: {cause}", hint="Check the name and the credentials.") from cause
        raise RetryLater(f"{uri} cannot be read: {cause}", hint="Check the network and the credentials.") from cause


def answered(error: BaseException | None) -> int | None:
    """Return the status of the answer that an error of the hub's client carries; None for errors without one."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def download(files: AbstractFileSystem, places: Mapping[str, str], folder: Path) -> None:
    """Make a folder of files, given by their names in it, all at once; another process may be first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        whole = Path(unfinished, "whole")
        for name, place in places.items():
            target = whole / name
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(place, str(target))
        _rename(whole, folder)


def _rename(unfinished: Path, folder: Path) -> None:
    """Give a finished copy its name, unless another process was first."""
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(unfinished)
