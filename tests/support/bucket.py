"""An object store in memory that starts to refuse when told: no rename, no append, no folders, as in the real ones."""

from typing import Any

from fsspec.implementations.memory import MemoryFileSystem


class Bucket(MemoryFileSystem):  # type: ignore[misc] # fsspec ships no types
    """Refuses every write with ``error`` once ``allowed`` writes have been made."""

    cachable = False

    def __init__(self, allowed: int = 100_000, error: Exception | None = None) -> None:
        super().__init__()
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]
        self.allowed = allowed
        self.error = error or OSError(28, "No space left on device")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> None:
        """Count the write, then do it or refuse."""
        self._count()
        super().pipe_file(path, value, mode, **options)

    def put_file(self, lpath: str, rpath: str, **options: object) -> None:
        """Count the write, then do it or refuse."""
        self._count()
        super().put_file(lpath, rpath, **options)

    def _count(self) -> None:
        self.allowed -= 1
        if self.allowed < 0:
            raise self.error
