"""Folders that come into being whole, or not at all."""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diptych_api.errors import StoreUnwritable

FILES, COMPLETE, REPLACED = "files", "complete.json", "replaced"
PREFIX = ".unpack-"
EXPORT_PREFIX = ".diptych-export-"
JUNK = frozenset({"__MACOSX", ".DS_Store"})
UNWRITABLE = frozenset(
    [
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES),
        *(errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY, errno.EXDEV),  # something is in the way
    ]
)


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes ``final/files`` at once, and only if all goes well.

    What killed processes left behind is removed first.
    """
    with _scratch(final.parent, PREFIX) as folder:
        yield folder / FILES
        (folder / COMPLETE).write_text("{}\n", encoding="utf-8")
        if final.exists() and not is_complete(final):
            shutil.rmtree(final)
        try:
            folder.rename(final)
        except OSError:
            if not is_complete(final):  # else another process was faster, with the same files
                raise


@contextmanager
def whole(final: Path, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Give a folder to fill that takes the place of ``final``, and only if all goes well.

    ``check`` is asked just before, and raises where what is there by then may not be replaced. What killed processes
    left behind is removed first, and what they had moved away comes back.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(final.parent, EXPORT_PREFIX) as folder:
        yield folder / FILES
        check()
        _replace(final, folder)


def is_complete(final: Path) -> bool:
    """Return whether ``final`` was filled to its end, now or in an earlier run."""
    return (final / COMPLETE).is_file()


def top(final: Path) -> Path:
    """Return the folder of files, or the one folder in it where that stands alone, as many archives have it."""
    inside = [path for path in (final / FILES).iterdir() if path.name not in JUNK]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else final / FILES


@contextmanager
def full_disk_named(workdir: Path) -> Iterator[None]:
    """Raise StoreUnwritable where the disk below ``workdir`` takes no more."""
    try:
        yield
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise StoreUnwritable(
                f"Cannot write below {workdir}: {error.strerror}.", hint="Free space there, or check its rights."
            ) from error
        raise


@contextmanager
def _scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """Give a folder of this process's own, with an empty folder for files in it; what is left of it goes."""
    _sweep(parent, prefix)
    folder, descriptor = _claim(parent, prefix)
    try:
        (folder / FILES).mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _replace(final: Path, folder: Path) -> None:
    """Put the files of a claimed folder in the place of ``final``, which waits in it meanwhile."""
    before = folder / REPLACED / final.name
    if final.exists():
        before.parent.mkdir()
        final.rename(before)
    try:
        (folder / FILES).rename(final)
    except OSError:
        _bring_back(folder)
        raise


def _bring_back(folder: Path) -> None:
    """Put what was to be replaced where it was, unless something is there."""
    for before in (folder / REPLACED).glob("*"):
        if not (final := folder.parent / before.name).exists():
            before.rename(final)


def _claim(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        if _lock(descriptor) is not False and folder.exists():
            return folder, descriptor
        os.close(descriptor)  # a sweep took it between mkdir and lock


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if _lock(descriptor):
                _bring_back(folder)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Return whether the lock was free; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
