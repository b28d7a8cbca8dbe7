"""What people read when a run store refuses a write."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from diptych_api.errors import DiptychError, StoreUnwritable

_SPACE = "Free some space, or set spec.output.uri to another place; then run again to go on from the last checkpoint."
_RIGHTS = "Give this user the right to write there, or set spec.output.uri to another place."
_FILE = "A part of this path is a file; set spec.output.uri to a folder."
_KEYS = (
    "Check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS; "
    "`aws configure export-credentials --format env` prints those of a profile) and their right to write there."
)
HINTS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "A limit on file sizes (ulimit -f, or the file system's own) is too low; raise it.",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "The file system is mounted read-only; set spec.output.uri to another place.",
    errno.ENOTDIR: _FILE,
    errno.EEXIST: _FILE,
    errno.ENOENT: "Create the bucket, or correct spec.output.uri.",
    errno.EMFILE: "Too many files are open; raise the limit (ulimit -n).",
}


@contextmanager
def writing(where: str, *, is_remote: bool) -> Iterator[None]:
    """Turn what a write to ``where`` raises into StoreUnwritable with cause and hint."""
    try:
        yield
    except DiptychError:
        raise
    except OSError as error:
        hint = _hint(error, is_remote=is_remote)
        raise StoreUnwritable(f"Cannot write {where}: {_cause(error)}.", hint=hint) from error


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what an object store raises for a read of ``where`` into StoreUnwritable; what is not there is not there."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise
    except OSError as error:
        raise StoreUnwritable(f"Cannot read {where}: {_cause(error)}.", hint=_hint(error, is_remote=True)) from error


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).removesuffix(".")


def _hint(error: OSError, *, is_remote: bool) -> str:
    if is_remote and error.errno in {errno.EACCES, errno.EPERM}:
        return _KEYS
    return HINTS.get(error.errno or 0, "Check the disk or the connection, then run again.")
