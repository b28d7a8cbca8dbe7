"""What a captioner has written, kept as soon as it is written and found again by the content of the picture."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from diptych_api.errors import StoreUnwritable
from diptych_training.data.lines import bounded_lines
from diptych_training.run_store import RunStore
from diptych_training.run_store_errors import writing
from diptych_training.run_store_local import append
from diptych_training.run_store_lock import folder_lock

FOLDER: Final = "captions"
SHARE_EVERY_S: Final = 30.0
THREADS: Final = 16


@dataclass(slots=True)
class Book:
    """The captions of one captioner as its settings are, on this machine and, where there is one, in a store for all.

    Leaving it puts into the store what that lacks.
    """

    path: Path
    shared: RunStore | None = None
    """A folder of an object store. Captions come there in pieces, each a file of lines."""
    waiting: list[str] = field(default_factory=list)
    shared_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, identity: object, workdir: Path, shared: RunStore | None) -> Self:
        """Return the book of what ``identity`` tells: all that captions depend on beside the picture."""
        name = hashlib.sha256(repr(identity).encode()).hexdigest()
        place = None if shared is None or shared.is_local else RunStore(shared.fs, f"{shared.root}/{FOLDER}/{name}")
        return cls(workdir / FOLDER / f"{name}.jsonl", place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._share()
        except StoreUnwritable:
            if kind is None:
                raise

    def read(self, wanted: Mapping[str, object]) -> dict[str, str]:
        """Return the captions of the pictures that are wanted, by their SHA-256; broken lines are passed over."""
        lines = bounded_lines(self.path.parent, self.path.name) if self.path.is_file() else iter(())
        here = {key: text for key, text in _captions(line for _, line in lines if line is not None) if key in wanted}
        if self.shared is None or len(here) == len(wanted):
            return here
        with ThreadPoolExecutor(THREADS) as threads:
            pieces = list(threads.map(self.shared.read_bytes, self.shared.list()))
        there = {key: text for piece in pieces for key, text in _captions((piece or b"").splitlines()) if key in wanted}
        self.waiting += [_line(key, text) for key, text in here.items() if key not in there]  # of a process that died
        return there | here

    def keep(self, captions: Mapping[str, str]) -> None:
        """Write captions down. Raises StoreUnwritable."""
        lines = [_line(key, text) for key, text in captions.items()]
        if not lines:
            return
        with writing(str(self.path), is_remote=False), folder_lock(self.path.parent, wait=True):
            append(self.path, "".join(f"{line}\n" for line in lines).encode())
        self.waiting += lines
        if time.monotonic() - self.shared_at > SHARE_EVERY_S:
            self._share()

    def _share(self) -> None:
        """Put what waits into the store as one more piece, called by its content."""
        if self.shared is not None and self.waiting:
            data = "".join(f"{line}\n" for line in self.waiting).encode()
            self.shared.write_bytes(f"{hashlib.sha256(data).hexdigest()}.jsonl", data)
        self.waiting.clear()
        self.shared_at = time.monotonic()


def _line(key: str, caption: str) -> str:
    return json.dumps({"key": key, "caption": caption}, ensure_ascii=False)


def _captions(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        try:
            told = json.loads(line)
            key, caption = str(told["key"]), told["caption"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(caption, str) and caption:
            yield key, caption
