"""Files on a disk of this machine that are whole or absent, whatever ends their writer."""

import os
import shutil
import uuid
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp-"
"""How the names of unfinished files and folders begin."""
BLOCK: Final = 65_536


def write_file(path: Path, data: bytes) -> None:
    """Replace a file in one step: after a crash it holds the old bytes or the new ones, never a part."""
    make_folder(path.parent)
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def append(path: Path, data: bytes) -> None:
    """Add whole lines to a file, or nothing; half a line that a killed writer left at its end is cut off first."""
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        end = _end_of_lines(descriptor)
        os.truncate(descriptor, end)
        rest = memoryview(data)
        try:
            while rest:  # a disk that is nearly full takes a part first
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            os.truncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def publish_folder(temporary: Path, target: Path) -> None:
    """Give a finished folder its name; what had that name before is removed.

    Files and names are on disk before the rename. Between the old folder's going and the new one's coming lies one
    moment in which neither has the name, so a folder that must outlive a crash is published under a new name.
    """
    for path in [*temporary.rglob("*"), temporary]:
        sync(path)
    if target.exists():
        aside = temporary_beside(target)
        target.rename(aside)
        temporary.rename(target)
        remove(aside)
    else:
        temporary.rename(target)
    sync(target.parent)


def copy_file(file: Path, target: Path) -> None:
    """Give ``target`` the bytes of ``file`` in one step."""
    make_folder(target.parent)
    temporary = temporary_beside(target)
    try:
        shutil.copyfile(file, temporary)
        sync(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(target.parent)


def copy_folder(folder: Path, target: Path) -> None:
    """Give ``target`` the contents of ``folder``, as publish_folder does."""
    make_folder(target.parent)
    temporary = temporary_beside(target)
    try:
        shutil.copytree(folder, temporary)
        publish_folder(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove(path: Path) -> None:
    """Remove a file or folder, if there is one; a folder loses its name first, so that no half of it is ever seen."""
    if path.is_dir() and not path.is_symlink():
        aside = temporary_beside(path)
        path.rename(aside)
        shutil.rmtree(aside)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(root: Path) -> None:
    """Remove what killed writers left below a folder. Nobody else may be writing there."""
    for here, folders, files in os.walk(root):
        for name in [name for name in folders if name.startswith(TEMPORARY)]:
            folders.remove(name)
            shutil.rmtree(Path(here, name))
        for name in files:
            if name.startswith(TEMPORARY):
                Path(here, name).unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Return a name in the same folder that nobody else uses."""
    return path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; their names are on disk afterwards."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_of_lines(descriptor: int) -> int:
    """Return the position after the last line break."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
