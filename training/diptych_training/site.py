"""Where a run's files are on this machine.

On a disk they are where the run store is. Beside an object store every machine has a work folder for each namespace of
runs, with bases, data sets, encoded pictures and manifests; it may be deleted whenever nothing runs.
"""

import hashlib
from pathlib import Path
from typing import Final

from diptych_api.runstore import CACHE
from diptych_diffusion.cache_folder import cache_folder
from diptych_training.run_store import RunStore

ADAPTERS, BASES, DATA, ENCODED = "adapters", "bases", "data", "encoded"
DIGITS: Final = 16


def namespace_folder(store: RunStore) -> Path:
    """Return the folder on this machine that all runs of the store's namespace share."""
    if local := store.local():
        return local.parent
    place = store.uri().rpartition("/")[0]
    return cache_folder() / "runs" / hashlib.sha256(place.encode()).hexdigest()[:DIGITS]


def shared_folder(store: RunStore, name: str) -> Path:
    """Return one of those folders: bases, data sets or what is encoded."""
    return namespace_folder(store) / CACHE / name


def run_folder(store: RunStore, *parts: str) -> Path:
    """Return the run's own folder on this machine."""
    return namespace_folder(store).joinpath(store.name, *parts)


def encoded(store: RunStore) -> RunStore:
    """Return where the store keeps encoded pictures and captions for all runs of the namespace."""
    return store.beside(CACHE, ENCODED)


def shared_data(store: RunStore) -> RunStore:
    """Return where the store keeps what was learned of data sets, for all runs of the namespace."""
    return store.beside(CACHE, DATA)
