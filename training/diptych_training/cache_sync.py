"""A cache in an object store: what it has need not be encoded, and what is encoded is put there."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from diptych_training.cache import Encode, MapChunks, plan
from diptych_training.cache_items import Item
from diptych_training.cache_shards import SHARD_NAME, add, shard_name, shards
from diptych_training.run_store import RunStore

THREADS: Final = 16
"""Shards that are read at once, and kept in memory."""
HEADER: Final = 65_536
"""Bytes in which the header of a shard fits, nearly always."""
LENGTH: Final = 8


def through(store: RunStore, map_chunks: MapChunks) -> MapChunks:
    """Return a map that takes from the store the shards it has, and puts there those that ``map_chunks`` makes."""

    def mapped(encode: Encode, chunks: Sequence[Sequence[Item]]) -> Iterator[bytes]:
        missing = {item.key: item for chunk in chunks for item in chunk}
        for data in _useful(store, missing.keys()):
            for key in _keys(data):
                missing.pop(key, None)
            yield data
        for data in map_chunks(encode, plan(missing.values(), ())):
            store.write_bytes(shard_name(data), data)
            yield data

    return mapped


def fetch(store: RunStore, folder: Path, names: Iterable[str]) -> None:
    """Copy the shards that ``folder`` lacks."""
    here = {path.name for path in shards(folder)}
    for data in _read(store, [name for name in names if name not in here]):
        add(folder, data)


def _useful(store: RunStore, keys: Collection[str]) -> Iterator[bytes]:
    """Yield the shards that hold any of the keys; of the others only headers are read."""
    names = [name for name in store.list() if SHARD_NAME.fullmatch(name)]
    with ThreadPoolExecutor(THREADS) as threads:
        headers = threads.map(lambda name: _header(store, name), names)
        useful = [name for name, header in zip(names, headers, strict=True) if not _keys(header).isdisjoint(keys)]
    yield from _read(store, useful)


def _read(store: RunStore, names: Sequence[str]) -> Iterator[bytes]:
    """Yield shards; damaged ones are removed from the store, to be made again."""
    with ThreadPoolExecutor(THREADS) as threads:
        for start in range(0, len(names), THREADS):
            some = names[start : start + THREADS]
            for name, data in zip(some, threads.map(store.read_bytes, some), strict=True):
                if data is not None and shard_name(data) == name:
                    yield data
                else:
                    store.remove(name)


def _header(store: RunStore, name: str) -> bytes:
    block = store.read_start(name, HEADER)
    size = int.from_bytes(block[:LENGTH], "little") + LENGTH
    return store.read_start(name, size) if HEADER < size < HEADER**2 else block


def _keys(data: bytes) -> set[str]:
    """Return the keys that a shard's header lists; none where it is damaged."""
    try:
        return set(json.loads(data[LENGTH : LENGTH + int.from_bytes(data[:LENGTH], "little")]))
    except (ValueError, TypeError):
        return set()
