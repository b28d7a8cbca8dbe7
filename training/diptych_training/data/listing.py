"""A manifest as files: train.jsonl, validation.jsonl, rejected.jsonl, dropped.jsonl and manifest.json.

train.jsonl and validation.jsonl are themselves manifests of the JsonLines layout.
"""

import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field

from diptych_api.errors import DatasetInvalid, StoreUnwritable
from diptych_api.fields import Model, Sha256
from diptych_training.data.entry import Entry, Manifest, digest_of
from diptych_training.data.filters import Dropped
from diptych_training.data.sample import Rejected

TRAIN, VALIDATION, SUMMARY = "train.jsonl", "validation.jsonl", "manifest.json"
REJECTED, DROPPED = "rejected.jsonl", "dropped.jsonl"
VERSION: Literal[1] = 1


class _Line(Model):
    path: str
    caption: str | list[str]
    sha256: Sha256
    size: tuple[int, int] | None = None
    metadata: dict[str, str] = Field(default={})


class _RejectedLine(Model):
    key: str
    line: int | None
    reason: str


class _DroppedLine(Model):
    key: str
    rule: str
    reason: str
    like: str | None = None


class _Summary(Model):
    version: Literal[1]
    root: str
    digest: Sha256
    train: int
    validation: int
    rejected: int
    dropped: int = 0


def write(manifest: Manifest, folder: Path) -> None:
    """Write the manifest; manifest.json comes last and makes it complete. Raises StoreUnwritable."""
    write_rejected(manifest.rejected, folder)
    dropped = (_DroppedLine(key=d.key, rule=d.rule, reason=d.reason, like=d.like) for d in manifest.dropped)
    _write_lines(folder / DROPPED, dropped)
    _write_lines(folder / TRAIN, map(_line, manifest.train))
    _write_lines(folder / VALIDATION, map(_line, manifest.held_out))
    summary = _Summary(
        version=VERSION,
        root=str(manifest.root),
        digest=manifest.digest,
        train=len(manifest.train),
        validation=len(manifest.held_out),
        rejected=len(manifest.rejected),
        dropped=len(manifest.dropped),
    )
    _write_lines(folder / SUMMARY, [summary])


def read(folder: Path, root: Path | None = None) -> Manifest:
    """Return the manifest in ``folder``, its pictures below ``root`` where the data set has moved.

    Pictures are not opened; ``verify`` does it one by one. Raises DatasetInvalid where files are missing or torn.
    """
    try:
        summary = _Summary.model_validate_json((folder / SUMMARY).read_bytes())
        base = root if root is not None else Path(summary.root)
        train, held_out = (tuple(_entries(folder / name, base)) for name in (TRAIN, VALIDATION))
        lines = map(_RejectedLine.model_validate_json, _lines(folder / REJECTED))
        rejected = tuple(Rejected(line.key, line.line, line.reason) for line in lines)
        dropped = tuple(_dropped(folder / DROPPED)) if summary.dropped else ()
    except (OSError, ValueError) as error:
        raise _torn(folder, str(error)) from error
    digest = digest_of(train, held_out)
    if (digest, len(rejected), len(dropped)) != (summary.digest, summary.rejected, summary.dropped):
        raise _torn(folder, "its parts do not fit together")
    return Manifest(base, train, held_out, rejected, digest, dropped)


def write_rejected(rejected: Iterable[Rejected], folder: Path) -> Path:
    """Write rejected.jsonl and return its path."""
    _write_lines(folder / REJECTED, (_RejectedLine(key=r.key, line=r.line, reason=r.reason) for r in rejected))
    return folder / REJECTED


def told_dropped(dropped: Sequence[Dropped], folder: str) -> str:
    """Return a sentence on what was left out by which rule, and where all of it is listed."""
    counts = Counter(each.rule for each in dropped)
    rules = ", ".join(f"{rule} {count:,}" for rule, count in counts.items())
    return f"{len(dropped):,} left out as asked ({rules}), such as {dropped[0]}. All: {folder}/{DROPPED}."


def left_out(rejected: Sequence[Rejected], folder: str) -> str:
    """Return a sentence on what a manifest in ``folder`` lacks, and where all of it is listed."""
    many = f"{len(rejected):,} pictures or rows are" if len(rejected) > 1 else "1 picture or row is"
    return f"{many} left out, such as {rejected[0]}. All: {folder}/{REJECTED}."


def _line(entry: Entry) -> _Line:
    caption = entry.captions[0] if len(entry.captions) == 1 else list(entry.captions)
    return _Line(path=entry.key, caption=caption, sha256=entry.sha256, size=entry.size, metadata=dict(entry.metadata))


def _entries(path: Path, root: Path) -> Iterator[Entry]:
    for line in map(_Line.model_validate_json, _lines(path)):
        captions = (line.caption,) if isinstance(line.caption, str) else tuple(line.caption)
        yield Entry(line.path, root / line.path, captions, line.sha256, line.size, line.metadata)


def _dropped(path: Path) -> Iterator[Dropped]:
    for line in map(_DroppedLine.model_validate_json, _lines(path)):
        yield Dropped(line.key, line.rule, line.reason, line.like)


def _lines(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return file.readlines()


def _write_lines(path: Path, rows: Iterable[Model]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.writelines(row.model_dump_json(exclude_defaults=True).encode() + b"\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreUnwritable(f"Cannot write {path}: {error.strerror}.", hint="Free space or check rights.") from error


def _torn(folder: Path, how: str) -> DatasetInvalid:
    return DatasetInvalid(
        f"The data set's manifest in {folder} cannot be used: {how}.",
        hint="Delete that folder and run again: the data set is prepared anew.",
    )
