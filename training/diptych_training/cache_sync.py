"""A cache in an object store: copied to a local folder before a run and back after encoding."""

from pathlib import Path

from diptych_training.cache_shards import SHARD_NAME, add, shards
from diptych_training.run_store import RunStore


def pull(store: RunStore, folder: Path) -> None:
    """Copy the shards that ``folder`` lacks; ones that were damaged on the way get another name and are never found."""
    here = {path.name for path in shards(folder)}
    for name in store.list():
        if SHARD_NAME.fullmatch(name) and name not in here and (data := store.read_bytes(name)) is not None:
            add(folder, data)


def push(store: RunStore, folder: Path) -> None:
    """Copy the shards that the store lacks. Raises StoreUnwritable."""
    there = set(store.list())
    for path in shards(folder):
        if path.name not in there:
            store.write_bytes(path.name, path.read_bytes())
