"""Unpack zip and tar archives that nobody vouches for.

Only folders and regular files are made, below one fresh folder. Sizes in headers are not believed: bytes are counted
as they are written.
"""

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import IO, Literal, Protocol, cast

from diptych_api.errors import DatasetInvalid
from diptych_diffusion.names import safe_parts, shown

Kind = Literal["zip", "tar", "tar.gz"]
SUFFIXES: dict[str, Kind] = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz"}
CHUNK_BYTES = 2**16
"""Longest single read, and so the longest header; tarfile may hold a thousand of them at once."""
ENCRYPTED = 1
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that zipfile inflates no further than it is asked to."""
REPACK = "Pack it again from plain files and folders."


class Readable(Protocol):
    """An open member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold."""

    files: int = 1_000_000
    total_bytes: int = 100 * 2**30
    ratio: int = 100
    """Unpacked bytes for each byte of the archive, beyond ``slack_bytes``."""
    slack_bytes: int = 16 * 2**20


def kind_of(name: str) -> Kind | None:
    """Return the kind that a file name's suffix tells; None for anything but a known archive."""
    return next((kind for suffix, kind in SUFFIXES.items() if name.lower().endswith(suffix)), None)


def extract(archive: IO[bytes], kind: Kind, target: Path, limits: Limits | None = None) -> None:
    """Unpack into the empty folder ``target``. Raises DatasetInvalid at the first thing that is not allowed."""
    budget = _Budget(limits or Limits(), archive.seek(0, os.SEEK_END))
    archive.seek(0)
    members = _zip_members(archive, budget) if kind == "zip" else _tar_members(archive, kind, budget)
    with _corruption_named(kind):
        for name, file in members:
            parts = safe_parts(name)
            budget.count_member()
            try:
                if file is None:
                    target.joinpath(*parts).mkdir(parents=True, exist_ok=True)
                else:
                    _copy(file, target.joinpath(*parts))
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise DatasetInvalid(f"The archive holds {shown(name)} twice.", hint=REPACK) from error


class _Budget:
    """Counts what was unpacked and raises at the limit."""

    def __init__(self, limits: Limits, archive_bytes: int) -> None:
        self.limits = limits
        self.members = 0
        self.bytes = 0
        self.allowed = min(limits.total_bytes, limits.ratio * archive_bytes + limits.slack_bytes)

    def count_member(self) -> None:
        self.members += 1
        if self.members > self.limits.files:
            raise DatasetInvalid(f"The archive holds more than {self.limits.files} files.", hint="Split it up.")

    def count_bytes(self, size: int) -> None:
        self.bytes += size
        if self.bytes > self.allowed:
            raise DatasetInvalid(
                f"The archive grows to more than {self.allowed} bytes: at most {self.limits.total_bytes}, and "
                f"{self.limits.ratio} times its own size.",
                hint="If it is no bomb, unpack it yourself and name the folder.",
            )


def _copy(source: Readable, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        while chunk := source.read(CHUNK_BYTES):
            target.write(chunk)


@contextmanager
def _corruption_named(kind: Kind) -> Iterator[None]:
    broken = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, RuntimeError)
    try:
        yield
    except broken as error:
        raise DatasetInvalid(f"The archive is broken or no {kind} file: {error}.", hint=REPACK) from error
    except OSError as error:
        if error.errno is not None:  # the disk's; gzip's own have no number
            raise
        raise DatasetInvalid(f"The archive is broken or no {kind} file: {error}.", hint=REPACK) from error


def _zip_members(archive: IO[bytes], budget: _Budget) -> Iterator[tuple[str, Readable | None]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise _not_plain(member.filename)
            if member.flag_bits & ENCRYPTED:
                raise DatasetInvalid(f"The archive's {shown(member.filename)} is encrypted.", hint=REPACK)
            if member.compress_type not in BOUNDED:
                raise DatasetInvalid(f"The archive's {shown(member.filename)} is not packed by deflate.", hint=REPACK)
            if member.is_dir():
                yield member.filename, None
            else:
                with file.open(member) as content:
                    yield member.filename, _Metered(content, budget)


def _tar_members(archive: IO[bytes], kind: Kind, budget: _Budget) -> Iterator[tuple[str, Readable | None]]:
    with GzipFile(fileobj=archive) if kind == "tar.gz" else nullcontext(archive) as plain:
        metered = _Metered(cast("IO[bytes]", plain), budget)
        with tarfile.open(fileobj=cast("IO[bytes]", metered), mode="r:") as file:
            while (member := file.next()) is not None:
                file.members.clear()  # type: ignore[attr-defined]  # typeshed lacks it; a million would stay in memory
                if member.isdir():
                    yield member.name, None
                elif member.isreg() and not member.issparse():
                    yield member.name, file.extractfile(member)
                else:
                    raise _not_plain(member.name)
        if metered.last.strip(b"\0") or not metered.last:
            raise EOFError("the end is missing")
        while metered.read(CHUNK_BYTES):  # to gzip's own checksum
            pass


class _Metered:
    """A stream whose reads are counted and bounded, so that no header of any size is taken into memory."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self.stream, self.budget = stream, budget
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= CHUNK_BYTES:
            raise EOFError(f"a header of {size} bytes")
        self.last = self.stream.read(size)
        self.budget.count_bytes(len(self.last))
        return self.last

    def seek(self, offset: int) -> int:
        return self.stream.seek(offset)

    def tell(self) -> int:
        return self.stream.tell()


def _not_plain(name: str) -> DatasetInvalid:
    return DatasetInvalid(f"The archive's {shown(name)} is a link or a device.", hint=REPACK)
