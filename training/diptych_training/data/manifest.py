"""Prepare a data set: source, layout, a look into every picture, filters, duplicates, split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych_api.dataset import PHASH, Dataset
from diptych_api.errors import DatasetInvalid, UnsupportedHere
from diptych_training.captioning.writing import Batches, inline, write_captions
from diptych_training.data.duplicates import ByHash, Group, Likeness, find_groups, together, without_copies
from diptych_training.data.entry import Entry, Manifest, digest_of, read_entry, verify
from diptych_training.data.eyes import Asked, Eyes, Here
from diptych_training.data.filters import Dropped, filtered
from diptych_training.data.fingerprint import Fingerprint
from diptych_training.data.hub_dataset import unpack
from diptych_training.data.layout import read_layout, rows_of
from diptych_training.data.listing import left_out, read, told_dropped, write, write_rejected
from diptych_training.data.looks import Journal, look_at
from diptych_training.data.sample import Rejected
from diptych_training.data.source import open_source
from diptych_training.data.split import split
from diptych_training.supported import refused_data

__all__ = [
    "Entry",
    "Manifest",
    "left_out",
    "open_root",
    "prepare",
    "read",
    "read_entry",
    "told_dropped",
    "verify",
    "write",
]

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A data set whose pictures were looked at."""

    entries: list[Entry]
    prints: list[Fingerprint]
    """Of each entry, where duplicates are looked for by them."""
    rejected: list[Rejected]
    dropped: list[Dropped]
    rows: int
    """Of the layout, and how many of them cannot be used."""
    lost: int


def prepare(
    dataset: Dataset, workdir: Path, report: Tell, batches: Batches = inline, eyes: Eyes | None = None
) -> Manifest:
    """Return the data set with every picture decoded once and hashed; ``report(done, total)`` hears of each.

    ``batches`` says where captions are written, if any are, and ``eyes`` where pictures are looked at. Archives are
    unpacked below ``workdir``, and rejected.jsonl is written there. Raises DatasetInvalid where too many samples are
    unusable or none is left to train on.
    """
    if problems := list(refused_data(dataset)):
        raise UnsupportedHere("\n".join(problems), hint="Leave the fields out.")
    root = open_root(dataset, workdir, report)
    seen = _see(dataset, root, workdir, report, eyes or Here())
    groups = _groups(dataset, seen, workdir, report)
    entries, dropped, alike = seen.entries, seen.dropped, {entry.key: entry.sha256 for entry in seen.entries}
    if dataset.dedup.remove:
        entries = without_copies(entries, groups)
        dropped += (each for group in groups for each in group.dropped())
    else:
        alike |= together(groups)
    if dataset.writes_captions:
        written = write_captions(entries, dataset, workdir, report, batches)
        entries = written.entries
        seen.rejected.extend(written.rejected)
        _check_usable(dataset, seen.rejected, seen.lost + len(written.rejected), seen.rows, workdir)
    train, held_out = split(entries, dataset.split, alike)
    if not train:
        raise DatasetInvalid(
            f"The data set at {root} leaves no samples to train on: {len(entries)} are usable, "
            f"{len(held_out)} of them are held out{f', {len(dropped)} left out as asked' if dropped else ''}.",
            hint="Hold out fewer by spec.dataset.split, or add pictures.",
        )
    sides = tuple(train), tuple(held_out)
    return Manifest(root, *sides, tuple(seen.rejected), digest_of(train, held_out), tuple(dropped))


def open_root(dataset: Dataset, workdir: Path, report: Tell = lambda _done, _total: None) -> Path:
    """Return the local folder with the data set's pictures; what is not local comes below ``workdir``, once."""
    root = open_source(dataset.source, workdir)
    return unpack(root, dataset, workdir, report) if dataset.layout == "HubDataset" else root


def _see(dataset: Dataset, root: Path, workdir: Path, report: Tell, eyes: Eyes) -> _Seen:
    """Look at every picture. Raises DatasetInvalid where too many cannot be used."""
    samples, rejected = read_layout(root, dataset)
    rows, lost = rows_of(samples, rejected), len(rejected)
    entries, prints, left_out = list[Entry](), list[Fingerprint](), list[Dropped]()
    asked = Asked.of(dataset)
    for sample, look in look_at(samples, asked, Journal.open(workdir, root, asked), report, eyes):
        if isinstance(look, Rejected):
            rejected.append(look)
            lost += sample.rows
        elif (dropped := filtered(sample.key, look, dataset.filters)) is not None:
            left_out.append(dropped)
        else:
            entries.append(Entry(sample.key, sample.path, sample.captions, look.sha256, look.size, sample.metadata))
            if look.fingerprint is not None:
                prints.append(look.fingerprint)
    _check_usable(dataset, rejected, lost, rows, workdir)
    return _Seen(entries, prints, rejected, left_out, rows, lost)


def _groups(dataset: Dataset, seen: _Seen, workdir: Path, report: Tell) -> list[Group]:
    if not dataset.dedup.enabled:
        return []
    if dataset.dedup.embedder == PHASH:
        likeness: Likeness = ByHash(seen.prints, dataset.dedup.threshold)
    else:
        from diptych_training.data.embeddings import by_network  # noqa: PLC0415 -- PyTorch, for networks only

        likeness = by_network(seen.entries, dataset.dedup, workdir, report)
    return find_groups(seen.entries, likeness, dataset.dedup)


def _check_usable(dataset: Dataset, rejected: Sequence[Rejected], lost: int, rows: int, workdir: Path) -> None:
    """List what cannot be used. Raises DatasetInvalid where it is too much."""
    allowed, listed_in = dataset.bad_samples.max_fraction, write_rejected(rejected, workdir)
    if lost <= allowed * rows:
        return
    raise DatasetInvalid(
        f"{lost} of {rows} samples are unusable ({lost / rows:.1%}, allowed is {allowed:.1%}). "
        f"The first: {'; '.join(map(str, rejected[:3]))}. All of them: {listed_in}.",
        hint="Repair or remove them, or raise spec.dataset.badSamples.maxFraction.",
    )
