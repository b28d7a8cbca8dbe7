"""One process per run: a lock that ends with its process, however that ends."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from diptych_api.errors import RetryLater
from diptych_training.run_store_local import make_folder

LOCK_FILE: Final = ".lock"
WITHOUT_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


@contextmanager
def folder_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the only lock on a folder while the body runs.

    The file stays, for a lock on a removed file locks nothing. While the lock is held, and after a kill, it holds the
    process id. On file systems without locks (some network mounts) the body runs unlocked.

    Raises:
        RetryLater: when another process has it and ``wait`` is not set; the message names that process.

    """
    make_folder(folder)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(descriptor, folder, wait=wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path, *, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "another process"
        raise RetryLater(
            f"Process {holder} works on {folder}.", hint=f"Wait until it ends, or stop it: kill {holder}"
        ) from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise


def lock_holder(folder: Path) -> int | None:
    """Return the process that holds the lock of a folder; None when nobody does, whatever its file says."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return int(holder) if holder.isdecimal() else None
    finally:
        os.close(descriptor)
    return None
