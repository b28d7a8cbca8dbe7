"""The run store: the files of one run, on a local disk or in an object store.

Every write is all or nothing: on a disk by a temporary file and a rename, in an object store by a single put.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

from pydantic import BaseModel

from diptych_api.runstore import RUN_FILE
from diptych_api.sources import Output
from diptych_diffusion.object_store import ObjectStore
from diptych_training import run_store_local as disk
from diptych_training.run_store_errors import writing
from diptych_training.run_store_lease import LEASE_FILE, Hold, Lease, holder_of, leased
from diptych_training.run_store_location import locate
from diptych_training.run_store_lock import folder_lock
from diptych_training.run_store_read import StoreReader


@dataclass(frozen=True, slots=True)
class RunStore(StoreReader):
    """The folder of one run.

    A write that the store refuses raises StoreUnwritable with the place, what went wrong and what to do. A store may
    be pickled.
    """

    @classmethod
    def open(
        cls, output: Output, namespace: str, name: str, base_dir: Path, mounts: Mapping[str, Path] | None = None
    ) -> Self:
        """Return the store of the run ``name``; nothing is read or made yet. Raises UnsupportedHere as locate does."""
        fs, root = locate(output, base_dir, mounts)
        return cls(fs, f"{root}/{namespace}/{name}")

    def beside(self, *parts: str) -> "RunStore":
        """Return the store of a sibling folder, such as the cache that the runs of a namespace share."""
        return RunStore(self.fs, "/".join([str(PurePosixPath(self.root).parent), *parts]))

    @contextmanager
    def lock(self) -> Iterator[Hold]:
        """Keep every other process from this run while the body runs, and clear what killed writers left.

        On a disk the lock ends with its process, kill -9 included; in an object store it is a lease, which runs out
        half a minute later.

        Raises:
            RetryLater: when another process has the run; the message names it.

        """
        with ExitStack() as stack:
            with self._writing():
                hold = self._locked(stack)
            yield hold

    def _locked(self, stack: ExitStack) -> Hold:
        if folder := self.local():
            stack.enter_context(folder_lock(folder))
            disk.remove_unfinished(folder)
        elif isinstance(self.fs, ObjectStore):
            return stack.enter_context(leased(self.fs, self._at(LEASE_FILE)))
        return Hold()

    def leaseholder(self) -> Lease | None:
        """Return who has this run in an object store; None on a disk."""
        return holder_of(self.fs, self._at(LEASE_FILE)) if isinstance(self.fs, ObjectStore) else None

    def write_bytes(self, path: str, data: bytes) -> None:
        """Replace a file in one step."""
        with self._writing(path):
            if local := self.local(path):
                disk.write_file(local, data)
            else:
                self.fs.pipe_file(self._at(path), data)

    def write_json(self, path: str, content: BaseModel | Mapping[str, Any]) -> None:
        """Replace a JSON file in one step; models with the names they have on the wire."""
        plain = content.model_dump(mode="json", by_alias=True) if isinstance(content, BaseModel) else dict(content)
        self.write_bytes(path, f"{json.dumps(plain, indent=2, ensure_ascii=False)}\n".encode())

    def append(self, path: str, *lines: str) -> None:
        """Add lines to a file, all or none. An object store has no appending: there the file is put anew."""
        data = "".join(f"{line}\n" for line in lines).encode()
        with self._writing(path):
            if local := self.local(path):
                disk.append(local, data)
            else:
                before = self.read_bytes(path) or b""
                self.fs.pipe_file(self._at(path), before + data)

    def put_file(self, file: Path, path: str) -> None:
        """Copy a local file to ``path`` in one step."""
        with self._writing(path):
            if target := self.local(path):
                disk.copy_file(file, target)
            else:
                self.fs.put_file(str(file), self._at(path))

    def put_folder(self, folder: Path, path: str, *, last: str = "") -> None:
        """Copy a local folder to ``path``; files that were there before and are not in ``folder`` go.

        In an object store files come one by one, and the one called ``last`` is there only while all others are.
        """
        with self._writing(path):
            if target := self.local(path):
                disk.copy_folder(folder, target)
                return
            new = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
            before = self.sizes(path).keys()
            if last in before:
                self.fs.rm_file(self._at(path, last))
            for name in sorted(new, key=lambda name: (name == last, name)):
                self.fs.put_file(str(new[name]), self._at(path, name))
            for old in before - new.keys():
                self.fs.rm_file(self._at(path, old))

    def remove(self, path: str) -> None:
        """Remove a file or folder, if it is there."""
        with self._writing(path):
            if local := self.local(path):
                disk.remove(local)
            elif self.exists(path):
                self.fs.rm(self._at(path), recursive=True)

    def _writing(self, *parts: str) -> AbstractContextManager[None]:
        return writing(self.uri(*parts), is_remote=not self.is_local)


def runs(output: Output, base_dir: Path, mounts: Mapping[str, Path] | None = None) -> list[RunStore]:
    """Return the stores of all runs of all namespaces below an output, by namespace and name."""
    fs, root = locate(output, base_dir, mounts)
    top = StoreReader(fs, root)
    names = [f"{namespace}/{name}" for namespace in top.list() for name in top.list(namespace)]
    return [RunStore(fs, f"{root}/{name}") for name in names if top.exists(f"{name}/{RUN_FILE}")]
