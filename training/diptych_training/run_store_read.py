"""The reading side of a run store, on a local disk or in an object store."""

import json
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast, overload

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ValidationError

from diptych_api.errors import RunFailed
from diptych_training.run_store_errors import reading

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class StoreReader:
    """A folder on a file system. Paths are relative to it, with forward slashes."""

    fs: fsspec.AbstractFileSystem
    root: str

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

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there."""
        with self._reading(path):
            return bool(self.fs.exists(self._at(path)))

    def list(self, path: str = "") -> tuple[str, ...]:
        """Return the sorted names in a folder, hidden ones left out; none where there is no folder."""
        try:
            with self._reading(path):
                found = self.fs.ls(self._at(path), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        names = {PurePosixPath(entry).name for entry in found}
        return tuple(sorted(name for name in names if not name.startswith(".")))

    def read_bytes(self, path: str) -> bytes | None:
        """Return a file's contents; None where there is no such file."""
        try:
            with self._reading(path):
                data: bytes = self.fs.cat_file(self._at(path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return data

    def stream(self, path: str) -> BinaryIO:
        """Return a file to be read in pieces."""
        with self._reading(path):
            return cast("BinaryIO", self.fs.open(self._at(path), "rb"))

    def read_start(self, path: str, size: int) -> bytes:
        """Return the first bytes of a file, ``size`` of them where it has as many; none where there is no file."""
        try:
            with self._reading(path):
                data: bytes = self.fs.cat_file(self._at(path), 0, size)
        except FileNotFoundError:
            return b""
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

    def get_folder(self, path: str) -> Path:
        """Return a folder on this machine with the files of ``path``.

        It is the folder itself on a local disk, and a new temporary folder, the caller's to remove, otherwise.
        """
        if local := self.local(path):
            return local
        folder = Path(tempfile.mkdtemp(prefix="diptych-"))
        names = sorted(self.sizes(path))
        targets = [folder / name for name in names]
        for parent in {target.parent for target in targets}:
            parent.mkdir(parents=True, exist_ok=True)
        with self._reading(path):
            self.fs.get([self._at(path, name) for name in names], list(map(str, targets)))
        return folder

    def sizes(self, path: str) -> dict[str, int]:
        """Return the files below a folder, and how long each is."""
        base = self._at(path)
        with self._reading(path):
            found = self.fs.find(base, detail=True)
        sizes = {str(PurePosixPath(file).relative_to(base)): int(entry["size"]) for file, entry in found.items()}
        if strange := [name for name in sizes if ".." in PurePosixPath(name).parts]:
            raise RunFailed(f"{self.uri(path)} holds a file that leaves it: {strange[0]}.", hint="Remove that object.")
        return sizes

    def _reading(self, *parts: str) -> AbstractContextManager[None]:
        return nullcontext() if self.is_local else reading(self.uri(*parts))

    def _at(self, *parts: str) -> str:
        return "/".join([self.root, *(part for part in parts if part)])
