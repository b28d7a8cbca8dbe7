"""What people read when a run store refuses a write."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from diptych_api.errors import DiptychError, StoreUnwritable

_SPACE = "Free some space, or set spec.output.uri to another place; then run again to go on from the last checkpoint."
_RIGHTS = "Give this user the right to write there, or set spec.output.uri to another place."
HINTS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "A limit on file sizes (ulimit -f, or the file system's own) is too low; raise it.",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "The file system is mounted read-only; set spec.output.uri to another place.",
    errno.ENOTDIR: "A part of this path is a file; set spec.output.uri to a folder.",
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
        hint = HINTS.get(error.errno or 0, "Check the disk or the connection, then run again.")
        raise StoreUnwritable(f"Cannot write {where}: {error.strerror or error}.", hint=hint) from error
    except Exception as error:
        if not is_remote:
            raise
        # Clients of object stores have error types of their own, such as botocore's NoCredentialsError.
        raise StoreUnwritable(
            f"Cannot write {where}: {type(error).__name__}: {error}.", hint="Check the credentials and the connection."
        ) from error
