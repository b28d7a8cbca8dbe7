"""The run store: the files of one run, on a local disk or in an object store.

Every write is all or nothing: on a disk by a temporary file and a rename, in an object store by a single put.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self, TypeVar, overload

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ValidationError

from diptych_api.errors import RunFailed
from diptych_api.runstore import RUN_FILE
from diptych_api.sources import Output
from diptych_training import run_store_local as disk
from diptych_training.run_store_errors import writing
from diptych_training.run_store_location import locate
from diptych_training.run_store_lock import folder_lock

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class RunStore:
    """The folder of one run. Paths are relative to it, with forward slashes.

    A write that the store refuses raises StoreUnwritable with the place, what went wrong and what to do. A store may
    be pickled.
    """

    fs: fsspec.AbstractFileSystem
    root: str

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

    @property
    def name(self) -> str:
        """The name of the run and of its folder."""
        return PurePosixPath(self.root).name

    @property
    def namespace(self) -> str:
        """The namespace of the run."""
        return PurePosixPath(self.root).parent.name

    @property
    def is_local(self) -> bool:
        """Whether the files are on a disk of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    def uri(self, *parts: str) -> str:
        """Return the URI of a file or folder."""
        return str(self.fs.unstrip_protocol(self._at(*parts)))

    def local(self, *parts: str) -> Path | None:
        """Return the path of a file or folder on this machine; None in an object store."""
        return Path(self._at(*parts)) if self.is_local else None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from this run while the body runs, and clear what killed writers left.

        The lock ends with its process, kill -9 included. Object stores have none: there, whoever starts runs must
        take care (on Kubernetes the operator does).

        Raises:
            RetryLater: when another process has the run; the message names it.

        """
        folder = self.local()
        if folder is None:
            yield
            return
        with ExitStack() as stack:
            with self._writing():
                stack.enter_context(folder_lock(folder))
                disk.remove_unfinished(folder)
            yield

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self._at(path)))

    def list(self, path: str = "") -> tuple[str, ...]:
        """Return the sorted names in a folder, hidden ones left out; none where there is no folder."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self._at(path), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        names = {PurePosixPath(entry).name for entry in found}
        return tuple(sorted(name for name in names if not name.startswith(".")))

    def read_bytes(self, path: str) -> bytes | None:
        """Return a file's contents; None where there is no such file."""
        try:
            data: bytes = self.fs.cat_file(self._at(path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return data

    @overload
    def read_json(self, path: str) -> dict[str, Any] | None: ...

    @overload
    def read_json(self, path: str, model: type[M]) -> M | None: ...

    def read_json(self, path: str, model: type[M] | None = None) -> M | dict[str, Any] | None:
        """Return the JSON object in a file, as ``model`` where one is given; None where there is no such file.

        Raises:
            RunFailed: when the file holds something else.

        """
        data = self.read_bytes(path)
        if data is None:
            return None
        try:
            if model is not None:
                return model.model_validate_json(data)
            content = json.loads(data)
            if isinstance(content, dict):
                return content
            problem = f"it holds a {type(content).__name__}, not an object"
        except (ValidationError, ValueError) as error:
            problem = str(error)
        raise RunFailed(f"Cannot read {self.uri(path)}: {problem}.", hint="The file is damaged: restore or remove it.")

    def read_lines(self, path: str) -> tuple[str, ...]:
        """Return the whole lines of a file, without a last one that a killed writer left torn; none without file."""
        *whole, _torn = (self.read_bytes(path) or b"").decode(errors="replace").split("\n")
        return tuple(whole)

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

    def put_folder(self, folder: Path, path: str) -> None:
        """Copy a local folder to ``path``; files that were there before and are not in ``folder`` go."""
        with self._writing(path):
            if target := self.local(path):
                disk.copy_folder(folder, target)
                return
            new = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
            for name, file in sorted(new.items()):
                self.fs.put_file(str(file), self._at(path, name))
            for old in self._files(path) - new.keys():
                self.fs.rm_file(self._at(path, old))

    def get_folder(self, path: str) -> Path:
        """Return a folder on this machine with the files of ``path``.

        It is the folder itself on a local disk, and a new temporary folder, the caller's to remove, otherwise.
        """
        if local := self.local(path):
            return local
        folder = Path(tempfile.mkdtemp(prefix="diptych-"))
        for name in self._files(path):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.fs.get_file(self._at(path, name), str(folder / name))
        return folder

    def remove(self, path: str) -> None:
        """Remove a file or folder, if it is there."""
        with self._writing(path):
            if local := self.local(path):
                disk.remove(local)
            elif self.exists(path):
                self.fs.rm(self._at(path), recursive=True)

    def _files(self, path: str) -> set[str]:
        self.fs.invalidate_cache()
        base = self._at(path)
        return {str(PurePosixPath(file).relative_to(base)) for file in self.fs.find(base)}

    def _at(self, *parts: str) -> str:
        return "/".join([self.root, *(part for part in parts if part)])

    def _writing(self, *parts: str) -> AbstractContextManager[None]:
        return writing(self.uri(*parts), is_remote=not self.is_local)


def runs(output: Output, base_dir: Path, mounts: Mapping[str, Path] | None = None) -> list[RunStore]:
    """Return the stores of all runs of all namespaces below an output, by namespace and name."""
    fs, root = locate(output, base_dir, mounts)
    found = sorted(fs.glob(f"{root}/*/*/{RUN_FILE}"))
    return [RunStore(fs, str(PurePosixPath(path).parent)) for path in found]
