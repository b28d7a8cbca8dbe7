"""Latents and text embeddings, encoded once and shared by every run that needs the same.

Shapes: C latent channels, h and w latent sides, L tokens, D text width.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from diptych_api.dataset import Dataset
from diptych_api.errors import CacheCorrupt
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion.base_files import part_digests
from diptych_training.cache_items import CaptionItem, Encoder, Item, PictureItem
from diptych_training.cache_keys import CacheKeys
from diptych_training.cache_shards import RUN_AGAIN, Place, add, find, sweep
from diptych_training.data.entry import Manifest

CHUNK: Final = 16
"""Items of a shard; a kill loses no more than the chunks that were being encoded."""

Encode = Callable[[Sequence[Item]], bytes]
MapChunks = Callable[[Encode, Sequence[Sequence[Item]]], Iterable[bytes]]
"""Applies a function to every chunk, anywhere and in any order, and yields the results as they come."""


@dataclass(frozen=True)
class Cache:
    """What a run needs of a cache folder. Reading takes the bytes of one tensor from the disk."""

    keys: CacheKeys
    places: Mapping[str, Place]

    @classmethod
    def open(cls, folder: Path, keys: CacheKeys, items: Iterable[Item]) -> "Cache":
        """Return the cache once the shards of all items have been read and found whole.

        Raises:
            CacheCorrupt: when an item is not there, or was not whole.

        """
        names = {item.key for item in items}
        places = find(folder, names)
        if missing := len(names) - len(places):
            raise CacheCorrupt(
                f"{folder} lacks {missing} of {len(names)} encoded pictures and captions.", hint=RUN_AGAIN
            )
        return cls(keys, places)

    def latent(self, picture_sha256: str, flipped: bool = False) -> tuple[Tensor, Tensor]:  # noqa: FBT001, FBT002 -- data, not a mode
        """Return mean and log-variance ``[C, h, w]``, unscaled, of a picture or, where flips are cached, its mirror."""
        mean, logvar = self._place(self.keys.latent(picture_sha256), picture_sha256).read(int(flipped))
        return mean, logvar

    def text(self, caption: str) -> Tensor:
        """Return the embedding ``[L, D]`` of a caption."""
        return self._place(self.keys.text(caption), caption).read()

    def _place(self, key: str, what: str) -> Place:
        try:
            return self.places[key]
        except KeyError:
            raise CacheCorrupt(f"The cache was not made for {what!r:.200}.", hint=RUN_AGAIN) from None


def caches_text(spec: FineTuneJobSpec) -> bool:
    """Whether a job's captions are encoded beforehand: those of a text encoder that learns cannot be."""
    return spec.training.cache_text_embeddings and not spec.trains_text_encoder


def items_of(manifest: Manifest, dataset: Dataset, keys: CacheKeys, *, text: bool, pictures: bool = True) -> list[Item]:
    """Return every picture and, with ``text``, every caption that a run may use, the empty one too, each once."""
    entries = [*manifest.train, *manifest.held_out]
    items: dict[str, Item] = {}
    for entry in entries if pictures else []:
        key = keys.latent(entry.sha256)
        items[key] = PictureItem(key, entry)
    first_only = dataset.caption_policy == "First"
    captions = [caption for entry in entries for caption in entry.captions[: 1 if first_only else None]]
    for caption in ["", *captions] if text else []:
        key = keys.text(caption)
        items[key] = CaptionItem(key, caption)
    return list(items.values())


def plan(items: Iterable[Item], have: Iterable[str]) -> list[tuple[Item, ...]]:
    """Return the items whose keys are not in ``have``, in chunks; the same items give the same chunks."""
    there = set(have)
    missing = sorted((item for item in items if item.key not in there), key=lambda item: item.key)
    kinds = [[i for i in missing if isinstance(i, kind)] for kind in (PictureItem, CaptionItem)]
    return [tuple(kind[start : start + CHUNK]) for kind in kinds for start in range(0, len(kind), CHUNK)]


def fill(
    folder: Path, items: Sequence[Item], encode: Encode, map_chunks: MapChunks, on_progress: Callable[[int, int], None]
) -> dict[str, Place]:
    """Encode what the folder lacks and return where everything is; ``on_progress`` hears of items done and in all.

    Every shard stays as soon as it is done, so a fill that was killed goes on where it stopped.

    Raises:
        StoreUnwritable: when the folder refuses; whatever ``encode`` raises.

    """
    places = find(folder, (item.key for item in items))
    on_progress(len(places), len(items))
    if chunks := plan(items, places):
        sweep(folder)
    for data in map_chunks(encode, chunks):
        places |= add(folder, data)
        on_progress(len(places), len(items))
    return places


def inline(encode: Encode, chunks: Sequence[Sequence[Item]]) -> Iterable[bytes]:
    """Encode chunk after chunk in this process."""
    return map(encode, chunks)


def prepare_cache(  # noqa: PLR0913 -- three say what, three how, and a caller names them
    components_folder: Path,
    manifest: Manifest,
    dataset: Dataset,
    cache_dir: Path,
    *,
    text: bool,
    pictures: bool = True,
    map_fn: MapChunks = inline,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    device: str = "cpu",
    digests: Mapping[str, str] | None = None,
) -> Cache:
    """Return a cache with the pictures and captions of a run, as far as wanted, encoding what is missing.

    ``digests`` are those of the base's parts, where they are known.
    """
    keys = CacheKeys.of(digests or part_digests(components_folder, need_unet=False), dataset.image)
    items = items_of(manifest, dataset, keys, text=text, pictures=pictures)
    encoder = Encoder(components_folder, keys, device)
    try:
        return Cache(keys, fill(cache_dir, items, encoder, map_fn, on_progress))
    finally:
        encoder.forget()


def open_cache(
    digests: Mapping[str, str],
    manifest: Manifest,
    dataset: Dataset,
    cache_dir: Path,
    *,
    text: bool,
    pictures: bool = True,
) -> Cache:
    """Return the cache that prepare_cache filled for a base of these digests. Raises CacheCorrupt as Cache.open."""
    keys = CacheKeys.of(digests, dataset.image)
    return Cache.open(cache_dir, keys, items_of(manifest, dataset, keys, text=text, pictures=pictures))
