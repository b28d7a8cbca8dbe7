"""What every worker is told. Free of torch, so that the processes between them start fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diptych_api.diffusionmodel import ModelPointer
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_training.run_store import RunStore

Identity = Mapping[str, str]
"""Digests that must be the same for a checkpoint to fit: data set, base, the adapter to go on from."""


@dataclass(frozen=True)
class Share:
    """The resolved job and where its parts are on the driver's machine: the same for every worker, sent by value."""

    spec: FineTuneJobSpec
    base_folder: Path
    manifest_folder: Path
    cache_folder: Path
    store: RunStore
    identity: Identity
    shards: tuple[str, ...] = ()
    """What of the store's cache the run needs, by name; of no use on a disk."""
    promotes: bool = True
    """Whether this place promotes what passes its gates; on a cluster the DiffusionModel does."""
    standing: ModelPointer | None = None
    """On a cluster, what the DiffusionModel stood for when the run was about to be evaluated."""
