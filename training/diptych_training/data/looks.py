"""One look into each picture: checksum, size, and what filters and the search for duplicates ask for.

What was seen is kept in a journal, so that a look that was interrupted goes on where it was, and pictures that did not
change are not decoded again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from diptych_api.fields import Model, Sha256
from diptych_training.data.eyes import Asked, Eyes, Look
from diptych_training.data.fingerprint import Fingerprint
from diptych_training.data.lines import bounded_lines
from diptych_training.data.sample import Rejected, Sample
from diptych_training.run_store_errors import writing
from diptych_training.run_store_local import append
from diptych_training.run_store_lock import folder_lock

VERSION: Final = 1
"""Raise it when the code from file to look gives other numbers."""
FOLDER: Final = "looks"


class _Line(Model):
    key: str
    file: tuple[int, int]
    """Length in bytes and the time of the last change in nanoseconds, by which a file is known again."""
    sha256: Sha256
    size: tuple[int, int]
    sharpness: float | None = None
    bits: int | None = None
    colours: str | None = None


@dataclass(slots=True)
class Journal:
    """Looks of this and earlier attempts, in a file that is only ever added to."""

    path: Path
    known: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def open(cls, workdir: Path, root: Path, asked: Asked) -> Self:
        """Return the journal of the pictures below ``root``; broken lines in it are passed over."""
        name = hashlib.sha256(json.dumps([VERSION, str(root), repr(asked)]).encode()).hexdigest()
        journal = cls(workdir / FOLDER / f"{name}.jsonl")
        if journal.path.is_file():
            for _, line in bounded_lines(journal.path.parent, journal.path.name):
                if (key := _key(line)) is not None and line is not None:
                    journal.known[key] = line
        return journal

    def find(self, sample: Sample) -> Look | None:
        """Return what was seen of a picture whose file is still the same."""
        line = self.known.pop(sample.key, None)
        try:
            seen = None if line is None else _Line.model_validate_json(line)
        except ValueError:
            return None
        if seen is None or seen.file != _file(sample.path):
            return None
        prints = None if seen.bits is None else Fingerprint(seen.bits, bytes.fromhex(seen.colours or ""))
        return Look(seen.sha256, seen.size, seen.sharpness, prints)

    def add(self, seen: Mapping[str, tuple[tuple[int, int], Look]]) -> None:
        """Keep what was seen of pictures, by key, each with its file as it was before. Raises StoreUnwritable."""
        if not seen:
            return
        lines = [_line(key, file, look).model_dump_json(exclude_none=True) for key, (file, look) in seen.items()]
        with writing(str(self.path), is_remote=False), folder_lock(self.path.parent, wait=True):
            append(self.path, "".join(f"{line}\n" for line in lines).encode())


def look_at(
    samples: Sequence[Sample], asked: Asked, journal: Journal, report: Callable[[int, int], None], eyes: Eyes
) -> Iterator[tuple[Sample, Look | Rejected]]:
    """Yield every sample and what was seen of it; ``report(done, total)`` hears of each."""
    for start in range(0, len(samples), eyes.at_once):
        batch = samples[start : start + eyes.at_once]
        seen = {sample.key: journal.find(sample) for sample in batch}
        fresh = {sample.key: (sample.path, _file(sample.path)) for sample in batch if seen[sample.key] is None}
        looks = dict(zip(fresh, eyes(asked, [path for path, _ in fresh.values()]), strict=True))
        journal.add(
            {key: (file, look) for key, look in looks.items() if (file := fresh[key][1]) and isinstance(look, Look)}
        )
        for done, sample in enumerate(batch, start + 1):
            report(done, len(samples))
            look = seen[sample.key] or looks[sample.key]
            yield sample, look if isinstance(look, Look) else Rejected(sample.key, sample.line, look.message)


def _file(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def _key(line: bytes | None) -> str | None:
    try:
        key = json.loads(line or b"")["key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return key if isinstance(key, str) else None


def _line(key: str, file: tuple[int, int], look: Look) -> _Line:
    prints = look.fingerprint
    return _Line(
        key=key,
        file=file,
        sha256=look.sha256,
        size=look.size,
        sharpness=look.sharpness,
        bits=None if prints is None else prints.bits,
        colours=None if prints is None else prints.colours.hex(),
    )
