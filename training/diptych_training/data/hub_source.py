"""A data set on the Hugging Face hub, at a commit, as a local folder: pictures, listings and the files of one split."""

import hashlib
import json
from pathlib import Path
from typing import Final

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


def hub_folder(source: HuggingFaceDataset, workdir: Path) -> Path:
    """Return the folder below ``workdir`` with the data set's files; a complete copy is used without asking the hub.

    Raises DatasetInvalid, HubAuth, RetryLater and StoreUnwritable.
    """
    choice = json.dumps([source.repo, source.revision, source.config, source.split])
    folder = workdir / f"hub-{hashlib.sha256(choice.encode()).hexdigest()}"
    done = folder.with_name(f"{folder.name}{COMPLETE}")
    if done.exists():
        return folder
    repository = Repository("dataset", source.repo, source.revision, source.token, DatasetInvalid)
    sizes = {name: size for name, size in repository.sizes().items() if safe_parts(name)}
    if README in sizes:
        repository.download(folder, [README])
    names = _wanted(folder, source, list(sizes))
    _refuse_excess(source.repo, [sizes[name] for name in names])
    repository.download(folder, names)
    with full_disk_named(workdir):
        done.touch()
    return folder


def _wanted(folder: Path, source: HuggingFaceDataset, names: list[str]) -> list[str]:
    """Return pictures and listings; of tables with pictures in them, the split's."""
    plain = [name for name in names if name.lower().endswith((*SUFFIXES, *LISTINGS)) or is_credit(name)]
    tables = [name for name in names if name.endswith(TABLES)]
    return [*plain, *(split_names(folder, tables, source.config, source.split) if tables else [])]


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
