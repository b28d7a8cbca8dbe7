"""Captions for the pictures that have none: a batch at a time, each kept as soon as it is written.

What was written is found again by the content of the picture and by what it depends on, in later runs too.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import PIL.Image

from diptych_api.dataset import Dataset
from diptych_training.captioning.book import Book
from diptych_training.captioning.cleanup import cleaned
from diptych_training.captioning.provider import Captioner, Captions, Shown, Silence, TooLarge, captioner
from diptych_training.captioning.template import filled
from diptych_training.data.entry import Entry, verify
from diptych_training.data.picture import decode, rgb
from diptych_training.data.sample import Rejected
from diptych_training.run_store import RunStore

VERSION: Final = 1
"""Raise it when pictures are shown otherwise, or captions are cut otherwise."""
Tell = Callable[[int, int], None]
Batches = Callable[[Captioner, Iterable[Sequence[Shown]]], Iterator[tuple[Sequence[Shown], Captions]]]
"""Captions batches of pictures, anywhere and in any order, and yields each batch with its captions."""


@dataclass(frozen=True, slots=True)
class Written:
    """The pictures that have a caption now, and those that have none."""

    entries: list[Entry]
    rejected: list[Rejected]


def inline(write: Captioner, batches: Iterable[Sequence[Shown]]) -> Iterator[tuple[Sequence[Shown], Captions]]:
    """Caption batch after batch in this process."""
    for batch in batches:
        yield batch, one_by_one(write, batch)


def one_by_one(write: Captioner, batch: Sequence[Shown]) -> Captions:
    """Return the captions of a batch, picture by picture where it is too large for the device's memory."""
    try:
        return write(batch)
    except TooLarge:
        if len(batch) == 1:
            return [Silence("the device's memory does not hold one picture")]
        return [caption for shown in batch for caption in one_by_one(write, [shown])]


def write_captions(
    entries: Sequence[Entry],
    dataset: Dataset,
    workdir: Path,
    tell: Tell,
    batches: Batches = inline,
    shared: RunStore | None = None,
) -> Written:
    """Return the entries, those without a caption with a new one; ``tell(done, total)`` hears of these.

    What is written is kept below ``workdir`` and, where ``shared`` is in an object store, there for other machines.

    Raises:
        SpecInvalid: when the captioner cannot be used as the settings say.
        RetryLater: when it is away.
        StoreUnwritable: when captions cannot be kept.

    """
    wanted = {entry.sha256: entry for entry in entries if not entry.captions}
    if not wanted:
        return Written(list(entries), [])
    settings = dataset.captioning
    if settings.provider == "Template":
        tell(len(wanted), len(wanted))
        return _put(entries, lambda entry: filled(settings.prompt or "", entry))
    identity, write = captioner(settings)
    shown_as = (VERSION, identity, settings.image_size, dataset.image.background)
    with Book.of(shown_as, workdir, shared) as book:
        texts: dict[str, str | Silence] = {**book.read(wanted)}
        tell(len(texts), len(wanted))
        missing = [entry for key, entry in wanted.items() if key not in texts]
        size = settings.batch_size
        shown = (_shown(missing[at : at + size], dataset) for at in range(0, len(missing), size))
        for batch, captions in batches(write, shown):
            fresh = {each.key: _usable(text) for each, text in zip(batch, captions, strict=True)}
            book.keep({key: text for key, text in fresh.items() if isinstance(text, str)})
            texts |= fresh
            tell(len(texts), len(wanted))
    return _put(entries, lambda entry: texts[entry.sha256])


def _put(entries: Sequence[Entry], caption: Callable[[Entry], str | Silence]) -> Written:
    written = Written([], [])
    for entry in entries:
        text = entry.captions or caption(entry)
        if isinstance(text, Silence):
            written.rejected.append(Rejected(entry.key, None, f"no caption: {text.reason}"))
        else:
            written.entries.append(entry if entry.captions else replace(entry, captions=(str(text),)))
    return written


def _usable(text: str | Silence) -> str | Silence:
    if isinstance(text, Silence):
        return text
    return cleaned(text) or Silence("the captioner had nothing to say")


def _shown(entries: Sequence[Entry], dataset: Dataset) -> list[Shown]:
    return [Shown(entry.sha256, _png(entry, dataset)) for entry in entries]


def _png(entry: Entry, dataset: Dataset) -> bytes:
    """Return a picture no larger than the captioner sees it, its aspect kept. Raises DatasetInvalid if it changed."""
    picture = rgb(decode(verify(entry)), dataset.image.background)
    side = dataset.captioning.image_size
    picture.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
