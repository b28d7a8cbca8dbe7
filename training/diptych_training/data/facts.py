"""What a local data set holds, told without opening its pictures. Free of torch, so that the answer comes at once."""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from diptych_api.dataset import Dataset
from diptych_training.data.class_folders import CLASS
from diptych_training.data.layout import captions_of, read_layout, rows_of
from diptych_training.data.sample import Rejected, Sample
from diptych_training.data.source import local_path
from diptych_training.data.split import split


@dataclass(frozen=True, slots=True)
class Facts:
    """Counts of a data set, and what of it cannot be used."""

    pictures: int
    captions: int
    held_out: int
    classes: Counter[str]
    rejected: tuple[Rejected, ...]
    rows: int

    def __str__(self) -> str:
        """Return the counts on one line."""
        counts = [f"{self.pictures:,} pictures", f"{self.captions:,} captions", f"{self.held_out:,} held out"]
        if self.classes:
            counts.append(f"{len(self.classes):,} classes")
        return " · ".join(counts)

    def notes(self, allowed: float) -> list[str]:
        """Return sentences on what cannot be used, where ``allowed`` is the share that a run puts up with."""
        if not self.rejected:
            return []
        lost = len(self.rejected)
        verdict = "more than" if lost > allowed * self.rows else "within"
        counts = f"{lost:,} of {self.rows:,} rows of the data set are unusable ({lost / self.rows:.1%}"
        reasons = "; ".join(str(rejected) for rejected in self.rejected[:3])
        return [f"{counts}, {verdict} the {allowed:.1%} of spec.dataset.badSamples.maxFraction): {reasons}."]


def local_folder(dataset: Dataset) -> Path | None:
    """Return the folder that the source names on this machine; None for archives and what lies elsewhere."""
    path = None if dataset.source.uri is None else local_path(dataset.source.uri)
    return path if path is not None and path.is_dir() else None


def facts_of(dataset: Dataset, root: Path) -> Facts:
    """Return what a folder holds as its layout says. Raises DatasetInvalid where the layout is another one."""
    samples, rejected = _hub_samples(root, dataset) if dataset.layout == "HubDataset" else read_layout(root, dataset)
    _, held_out = split(samples, dataset.split)
    return Facts(
        pictures=len(samples),
        captions=sum(len(sample.captions) for sample in samples),
        held_out=len(held_out),
        classes=Counter(sample.metadata[CLASS] for sample in samples if CLASS in sample.metadata),
        rejected=tuple(rejected),
        rows=rows_of(samples, rejected),
    )


def _hub_samples(root: Path, dataset: Dataset) -> tuple[list[Sample], list[Rejected]]:
    from diptych_training.data.hub_dataset import hub_files  # noqa: PLC0415 -- pyarrow, for this layout only
    from diptych_training.data.hub_rows import hub_rows  # noqa: PLC0415 -- same

    samples: list[Sample] = []
    rejected: list[Rejected] = []
    for row in chain.from_iterable(hub_rows(path, dataset, pictures=False) for path in hub_files(root, dataset)):
        if len(samples) == dataset.limit:
            break
        try:
            captions = captions_of(row.captions, dataset)
        except ValueError as error:
            rejected.append(Rejected(row.file, row.number, str(error)))
        else:
            samples.append(Sample(f"{len(samples):09}", root / row.file, captions, line=row.number))
    return samples, rejected
