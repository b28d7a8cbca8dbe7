"""An object store in memory that starts to refuse when told: no rename, no append, no folders, as in the real ones."""

from pathlib import Path
from typing import Any

from obstore.store import MemoryStore

from diptych_diffusion.object_store import ObjectStore, Version


class Bucket(ObjectStore):
    """Refuses every write with ``error`` once ``allowed`` writes have been made. What it holds ends with it."""

    def __init__(self, allowed: int = 100_000, error: OSError | None = None) -> None:
        super().__init__("s3")
        self.allowed = allowed
        self.error = error or OSError(28, "No space left on device")

    def _bucket(self, name: str) -> MemoryStore:
        return MemoryStore()

    def _put(self, path: str, value: bytes | Path, mode: Any = "overwrite") -> Version:
        """Count the write, then do it or refuse."""
        self.allowed -= 1
        if self.allowed < 0:
            raise self.error
        return super()._put(path, value, mode)
