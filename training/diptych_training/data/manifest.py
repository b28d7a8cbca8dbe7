"""Prepare a data set: source, layout, a look into every picture, filters, duplicates, split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diptych_api.dataset import PHASH, Dataset
from diptych_api.errors import DatasetInvalid, UnsupportedHere
from diptych_training.captioning.writing import Batches, inline, write_captions
from diptych_training.data.duplicates import ByHash, Group, Likeness, find_groups, together, without_copies
from diptych_training.data.entry import Entry, Manifest, digest_of, read_entry, verify
from diptych_training.data.eyes import Asked, Eyes, Here
from diptych_training.data.filters import Dropped, filtered
from diptych_training.data.fingerprint import Fingerprint
from diptych_training.data.hub_dataset import First, unpack
from diptych_training.data.layout import read_layout, rows_of
from diptych_training.data.listing import left_out, read, told_dropped, write, write_rejected
from diptych_training.data.looks import Journal, look_at
from diptych_training.data.sample import Rejected
from diptych_training.data.source import open_source
from diptych_training.data.split import split
from diptych_training.run_store import RunStore
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
class Selection:
    """The pictures of a data set that are used, each looked at once; not all of them may have a caption yet."""

    root: Path
    entries: list[Entry]
    alike: dict[str, str]
    """Of each key, what the keys have in common that may not come apart in the split."""
    rejected: list[Rejected]
    dropped: list[Dropped]
    rows: int
    """Of the layout, and how many of them cannot be used."""
    lost: int

    @property
    def without_caption(self) -> int:
        """How many pictures lack a caption."""
        return sum(not entry.captions for entry in self.entries)


def prepare(
    dataset: Dataset, workdir: Path, report: Tell, batches: Batches = inline, eyes: Eyes | None = None
) -> Manifest:
    """Return the data set with every picture decoded once and hashed; ``report(done, total)`` hears of each.

    It is made by ``select``, ``with_captions`` and ``divide``, whose errors it raises.
    """
    selection = select(dataset, workdir, report, eyes)
    return divide(with_captions(selection, dataset, workdir, report, batches), dataset)


def select(dataset: Dataset, workdir: Path, report: Tell, eyes: Eyes | None = None) -> Selection:
    """Return the pictures that are used, looked at by ``eyes``: without what filters and duplicates leave out.

    Archives are unpacked below ``workdir``, and rejected.jsonl is written there.

    Raises:
        UnsupportedHere: when the data set asks for what nothing does yet.
        DatasetInvalid: when too many samples cannot be used.

    """
    if problems := list(refused_data(dataset)):
        raise UnsupportedHere("\n".join(problems), hint="Leave the fields out.")
    root = open_root(dataset, workdir, report)
    seen, prints = _see(dataset, root, workdir, report, eyes or Here())
    groups = _groups(dataset, seen.entries, prints, workdir, report)
    if dataset.dedup.remove:
        copies = [each for group in groups for each in group.dropped()]
        return replace(seen, entries=without_copies(seen.entries, groups), dropped=[*seen.dropped, *copies])
    return replace(seen, alike=seen.alike | together(groups))


def with_captions(
    selection: Selection,
    dataset: Dataset,
    workdir: Path,
    report: Tell,
    batches: Batches = inline,
    shared: RunStore | None = None,
) -> Selection:
    """Return the same pictures, those without a caption with a new one, written where ``batches`` says.

    They are kept below ``workdir`` and in ``shared`` as ``write_captions`` tells.

    Raises:
        SpecInvalid: when the captioner cannot be used as the settings say.
        RetryLater: when it is away.
        DatasetInvalid: when too many pictures are left without a caption.

    """
    if not dataset.writes_captions:
        return selection
    written = write_captions(selection.entries, dataset, workdir, report, batches, shared)
    rejected, lost = [*selection.rejected, *written.rejected], selection.lost + len(written.rejected)
    _check_usable(dataset, rejected, lost, selection.rows, workdir)
    return replace(selection, entries=written.entries, rejected=rejected, lost=lost)


def divide(selection: Selection, dataset: Dataset) -> Manifest:
    """Return the pictures split for training and validation. Raises DatasetInvalid where none is left to train on."""
    train, held_out = split(selection.entries, dataset.split, selection.alike)
    if not train:
        dropped = f", {len(selection.dropped)} left out as asked" if selection.dropped else ""
        raise DatasetInvalid(
            f"The data set at {selection.root} leaves no samples to train on: {len(selection.entries)} are usable, "
            f"{len(held_out)} of them are held out{dropped}.",
            hint="Hold out fewer by spec.dataset.split, or add pictures.",
        )
    digest = digest_of(train, held_out)
    return Manifest(
        selection.root, tuple(train), tuple(held_out), tuple(selection.rejected), digest, tuple(selection.dropped)
    )


def open_root(dataset: Dataset, workdir: Path, report: Tell = lambda _done, _total: None) -> Path:
    """Return the local folder with the data set's pictures; what is not local comes below ``workdir``, once."""
    root = open_source(dataset.source, workdir, First.of(dataset))
    return unpack(root, dataset, workdir, report) if dataset.layout == "HubDataset" else root


def _see(dataset: Dataset, root: Path, workdir: Path, report: Tell, eyes: Eyes) -> tuple[Selection, list[Fingerprint]]:
    """Look at every picture; return what filters leave, and what duplicates are known by.

    Raises DatasetInvalid where too many cannot be used.
    """
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
    alike = {entry.key: entry.sha256 for entry in entries}
    return Selection(root, entries, alike, rejected, left_out, rows, lost), prints


def _groups(
    dataset: Dataset, entries: list[Entry], prints: list[Fingerprint], workdir: Path, report: Tell
) -> list[Group]:
    if not dataset.dedup.enabled:
        return []
    if dataset.dedup.embedder == PHASH:
        likeness: Likeness = ByHash(prints, dataset.dedup.threshold)
    else:
        from diptych_training.data.embeddings import by_network  # noqa: PLC0415 -- PyTorch, for networks only

        likeness = by_network(entries, dataset.dedup, workdir, report)
    return find_groups(entries, likeness, dataset.dedup)


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
