"""A cache in an object store: copied to a local folder before a run and back after encoding."""

import hashlib
from pathlib import Path

from diptych_training.cache_shards import SHARD_NAME, add, shards
from diptych_training.run_store import RunStore


def pull(store: RunStore, folder: Path) -> None:
    """Copy the shards that ``folder`` lacks; damaged ones are removed from the store, to be made again and pushed."""
    here = {path.name for path in shards(folder)}
    for name in store.list():
        if not SHARD_NAME.fullmatch(name) or name in here:
            continue
        data = store.read_bytes(name) or b""
        if hashlib.sha256(data).hexdigest() == Path(name).stem:
            add(folder, data)
        else:
            store.remove(name)


def push(store: RunStore, folder: Path) -> None:
    """Copy the shards that the store lacks. Raises StoreUnwritable."""
    there = set(store.list())
    for path in shards(folder):
        if path.name not in there:
            store.write_bytes(path.name, path.read_bytes())
