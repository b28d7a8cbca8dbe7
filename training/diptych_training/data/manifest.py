"""Prepare a data set: source, layout, a look into every picture, split."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid, UnsupportedHere
from diptych_training.data.entry import Entry, Manifest, digest_of, read_entry, verify
from diptych_training.data.hub_dataset import unpack
from diptych_training.data.layout import read_layout, rows_of
from diptych_training.data.listing import left_out, read, write, write_rejected
from diptych_training.data.picture import decode, read_bytes
from diptych_training.data.sample import Rejected, Sample
from diptych_training.data.source import open_source
from diptych_training.data.split import split
from diptych_training.supported import refused_data

__all__ = ["Entry", "Manifest", "left_out", "open_root", "prepare", "read", "read_entry", "verify", "write"]

THREADS, BATCH = 8, 256


def prepare(dataset: Dataset, workdir: Path, report: Callable[[int, int], None]) -> Manifest:
    """Return the data set with every picture decoded once and hashed; ``report(done, total)`` hears of each.

    Archives are unpacked below ``workdir``, and rejected.jsonl is written there. Raises DatasetInvalid where too
    many samples are unusable or none is left to train on.
    """
    if problems := list(refused_data(dataset)):
        raise UnsupportedHere("\n".join(problems), hint="Leave the fields out.")
    root = open_root(dataset, workdir, report)
    samples, rejected = read_layout(root, dataset)
    rows, lost = rows_of(samples, rejected), len(rejected)
    entries: list[Entry] = []
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
        for start in range(0, len(samples), BATCH):
            batch = samples[start : start + BATCH]
            for done, (sample, looked) in enumerate(zip(batch, threads.map(_look, batch), strict=True), start + 1):
                if isinstance(looked, Entry):
                    entries.append(looked)
                else:
                    rejected.append(looked)
                    lost += sample.rows
                report(done, len(samples))
    listed_in = write_rejected(rejected, workdir)
    if lost > dataset.bad_samples.max_fraction * rows:
        raise _too_bad(dataset, rejected, lost, rows, listed_in)
    train, held_out = split(entries, dataset.split)
    if not train:
        raise DatasetInvalid(
            f"The data set at {root} leaves no samples to train on: {len(entries)} are usable, "
            f"{len(held_out)} of them are held out.",
            hint="Hold out fewer by spec.dataset.split, or add pictures.",
        )
    return Manifest(root, tuple(train), tuple(held_out), tuple(rejected), digest_of(train, held_out))


def open_root(dataset: Dataset, workdir: Path, report: Callable[[int, int], None] = lambda _done, _total: None) -> Path:
    """Return the local folder with the data set's pictures; what is not local comes below ``workdir``, once."""
    root = open_source(dataset.source, workdir)
    return unpack(root, dataset, workdir, report) if dataset.layout == "HubDataset" else root


def _look(sample: Sample) -> Entry | Rejected:
    try:
        data = read_bytes(sample.path)
        picture = decode(data)
    except DatasetInvalid as error:
        return Rejected(sample.key, sample.line, error.message)
    sha256 = hashlib.sha256(data).hexdigest()
    return Entry(sample.key, sample.path, sample.captions, sha256, picture.size, sample.metadata)


def _too_bad(dataset: Dataset, rejected: Sequence[Rejected], lost: int, rows: int, listed_in: Path) -> DatasetInvalid:
    allowed = dataset.bad_samples.max_fraction
    return DatasetInvalid(
        f"{lost} of {rows} samples are unusable ({lost / rows:.1%}, allowed is {allowed:.1%}). "
        f"The first: {'; '.join(map(str, rejected[:3]))}. All of them: {listed_in}.",
        hint="Repair or remove them, or raise spec.dataset.badSamples.maxFraction.",
    )
