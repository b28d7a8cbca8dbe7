"""Brings what a worker needs to its own machine, where the run store is not a disk that all of them see."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import cast

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.runstore import MANIFEST
from diptych_diffusion.adapter_source import fetch_adapter
from diptych_diffusion.base_files import resolve_base
from diptych_training.cache import MapChunks
from diptych_training.cache_items import Encoder, Item, PictureItem
from diptych_training.cache_sync import fetch
from diptych_training.data.listing import SUMMARY
from diptych_training.data.manifest import Manifest, open_root, read, write
from diptych_training.run_store import RunStore
from diptych_training.share import Share
from diptych_training.site import ADAPTERS, BASES, DATA, ENCODED, encoded, run_folder, shared_folder


def keep_manifest(store: RunStore) -> None:
    """Put the manifest that was made on this machine into the store; its summary comes last."""
    if not store.is_local:
        store.put_folder(run_folder(store, MANIFEST), MANIFEST, last=SUMMARY)


def bring_manifest(spec: FineTuneJobSpec, store: RunStore) -> Manifest:
    """Return the run's manifest, its pictures on this machine."""
    folder = run_folder(store, MANIFEST)
    if store.is_local:
        return read(folder)
    root = open_root(spec.dataset, shared_folder(store, DATA))
    fetched = store.get_folder(MANIFEST)
    try:
        manifest = read(fetched, root)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    write(manifest, folder)
    return manifest


def brought(share: Share) -> Share:
    """Return what a worker is told, with everything that it names on its machine."""
    store = share.store
    share = replace(share, spec=with_first_adapter(share.spec, store))
    if store.is_local:
        return share
    bring_manifest(share.spec, store)
    fetch(encoded(store), shared_folder(store, ENCODED), share.shards)
    return replace(
        share,
        base_folder=resolve_base(share.spec.base, shared_folder(store, BASES)),
        manifest_folder=run_folder(store, MANIFEST),
        cache_folder=shared_folder(store, ENCODED),
    )


def with_first_adapter(spec: FineTuneJobSpec, store: RunStore) -> FineTuneJobSpec:
    """Return the job with the adapter that it goes on from on this machine."""
    if spec.method != "LoRA" or spec.lora.init_from is None:
        return spec
    path = fetch_adapter(spec.lora.init_from, shared_folder(store, ADAPTERS))
    return spec.model_copy(update={"lora": spec.lora.model_copy(update={"init_from": str(path)})})


def on_sites(map_chunks: MapChunks, spec: FineTuneJobSpec, store: RunStore) -> MapChunks:
    """Return a map whose encoder takes base and pictures from the machine that it runs on."""
    return lambda encode, chunks: map_chunks(OnSite.of(cast("Encoder", encode), spec, store), chunks)


@dataclass(frozen=True, slots=True)
class OnSite:
    """An encoder that takes base and pictures from the machine where it is called."""

    encoder: Encoder
    spec_json: str
    bases: Path
    data: Path

    @classmethod
    def of(cls, encoder: Encoder, spec: FineTuneJobSpec, store: RunStore) -> "OnSite":
        """Return the encoder for the machines of a run."""
        return cls(encoder, spec.model_dump_json(), shared_folder(store, BASES), shared_folder(store, DATA))

    def __call__(self, items: Sequence[Item]) -> bytes:
        """Return a shard as the encoder does."""
        base, root = _places(self.spec_json, self.bases, self.data)
        return replace(self.encoder, folder=base)([_below(item, root) for item in items])


@lru_cache(maxsize=1)
def _places(spec_json: str, bases: Path, data: Path) -> tuple[Path, Path]:
    """Return base and pictures; a process that encodes many chunks looks once."""
    spec = FineTuneJobSpec.model_validate_json(spec_json)
    return resolve_base(spec.base, bases), open_root(spec.dataset, data)


def _below(item: Item, root: Path) -> Item:
    if isinstance(item, PictureItem):
        return replace(item, entry=replace(item.entry, path=root / item.entry.key))
    return item
