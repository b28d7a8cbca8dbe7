"""Captions that are longer than the text encoder reads."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from unicodedata import normalize

from diptych_api.sources import Base
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.loading import loading
from diptych_diffusion.safe_files import read_json
from diptych_training.data.entry import Entry

MAX_TOKENS: Final = 77
"""Of CLIP, whose config may leave it out."""


def told_long_captions(base: Path, entries: Iterable[Entry], policy: str) -> str | None:
    """Return a sentence on captions whose end has no effect; None where there are none.

    A caption has no more tokens than bytes and two for start and end, so that most sets need no tokenizer.
    """
    limit = int(read_json(base / "text_encoder" / "config.json").get("max_position_embeddings", MAX_TOKENS))
    used = slice(1) if policy == "First" else slice(None)
    captions = sorted({caption for entry in entries for caption in entry.captions[used]})
    doubtful = [caption for caption in captions if len(normalize("NFC", caption).lower().encode()) + 2 > limit]
    long = _longer_than(limit, doubtful, base) if doubtful else []
    if not long:
        return None
    return (
        f"{len(long):,} of {len(captions):,} captions have more than {limit} tokens; what is over has "
        f"no effect. The first: {long[0][:80]!r}."
    )


def told_before(base: Base, entries: Iterable[Entry], policy: str) -> str | None:
    """Return the same sentence while the base is not here yet: of one on the hub its small files are downloaded.

    A base in an archive or an object store comes as a whole, so nothing is told of it.
    """
    if base.uri is not None and "://" in base.uri and not base.uri.startswith("file://"):
        return None
    with tempfile.TemporaryDirectory(prefix="diptych-") as scratch:
        return told_long_captions(resolve_base(base, Path(scratch), only_configs=True), entries, policy)


def _longer_than(limit: int, captions: Iterable[str], base: Path) -> list[str]:
    with loading():
        from diptych_diffusion.tokenizer_files import load_tokenizer  # noqa: PLC0415 - takes a second: transformers

    tokenizer = load_tokenizer(base / "tokenizer")
    return [caption for caption in captions if len(tokenizer(caption, verbose=False)["input_ids"]) > limit]
