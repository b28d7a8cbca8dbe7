"""A data set on the Hugging Face hub, at a commit, as a local folder: pictures, listings and the files of one split."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from diptych_api.errors import DatasetInvalid
from diptych_api.sources import HuggingFaceDataset
from diptych_diffusion.archive import Limits
from diptych_diffusion.hub import COMPLETE, Repository
from diptych_diffusion.names import safe_parts
from diptych_diffusion.staging import full_disk_named
from diptych_training.data.credits import is_credit
from diptych_training.data.hub_files import README, TABLES, split_names
from diptych_training.data.walk import SUFFIXES

LISTINGS: Final = (".jsonl", ".csv", ".tsv", ".txt", ".token", ".caption")


class Taken(Protocol):
    """Looks into tables as they come, in their order."""

    @property
    def choice(self) -> object:
        """What it depends on beside the tables."""

    def enough(self, root: Path, table: Path) -> bool:
        """Return whether no further table is needed."""


def hub_folder(source: HuggingFaceDataset, workdir: Path, taken: Taken | None = None) -> Path:
    """Return the folder below ``workdir`` with the data set's files; a complete copy is used without asking the hub.

    Tables come one by one until ``taken`` has enough. Raises DatasetInvalid, HubAuth, RetryLater and StoreUnwritable.
    """
    folder = workdir / f"hub-{_digest([source.repo, source.revision, source.config, source.split])}"
    done = whole = folder.with_name(f"{folder.name}{COMPLETE}")
    if taken is not None:
        done = folder.with_name(f"{folder.name}-{_digest(taken.choice)}{COMPLETE}")
    if done.exists() or whole.exists():
        return folder
    repository = Repository("dataset", source.repo, source.revision, source.token, DatasetInvalid)
    sizes = {name: size for name, size in repository.sizes().items() if safe_parts(name)}
    if README in sizes:
        repository.download(folder, [README])
    plain, tables = _wanted(folder, source, list(sizes))
    wanted = list[str]()
    for names in _portions(folder, plain, tables, taken):
        wanted += names
        _refuse_excess(source.repo, [sizes[name] for name in wanted])
        repository.download(folder, names)
    with full_disk_named(workdir):
        done.touch()
    return folder


def _digest(choice: object) -> str:
    return hashlib.sha256(json.dumps(choice).encode()).hexdigest()


def _portions(folder: Path, plain: list[str], tables: list[str], taken: Taken | None) -> Iterator[list[str]]:
    """Yield what is wanted, each to be downloaded before the next is asked for."""
    if taken is None or not tables:
        yield [*plain, *tables]
        return
    for count, table in enumerate(tables):
        yield [table] if count else [*plain, table]
        if taken.enough(folder, folder / table):
            return


def _wanted(folder: Path, source: HuggingFaceDataset, names: list[str]) -> tuple[list[str], list[str]]:
    """Return pictures with listings, and of tables with pictures in them the split's."""
    plain = [name for name in names if name.lower().endswith((*SUFFIXES, *LISTINGS)) or is_credit(name)]
    tables = [name for name in names if name.endswith(TABLES)]
    return plain, split_names(folder, tables, source.config, source.split) if tables else []


def _refuse_excess(repo: str, sizes: list[int]) -> None:
    limits = Limits()
    if not sizes:
        raise DatasetInvalid(
            f"The hub's {repo} has neither pictures nor listings nor Parquet files.", hint="Check the repository."
        )
    if len(sizes) > limits.files or sum(sizes) > limits.total_bytes:
        raise DatasetInvalid(
            f"The hub's {repo} holds {len(sizes)} files and {sum(sizes)} bytes; allowed are {limits.files} and "
            f"{limits.total_bytes}.",
            hint="Use a part of it: set huggingFace.config and split, or make a smaller repository.",
        )
