"""The files that are published, under the names that others look for."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

from diptych_api.artifact import FOLDERS, ArtifactRecord
from diptych_api.errors import ArtifactInvalid, UserError
from diptych_api.evaluation_report import EvaluationReport
from diptych_api.runstore import (
    ARTIFACT,
    ARTIFACT_FILE,
    EVALUATION,
    EVALUATION_FILE,
    MANIFEST,
    PROVENANCE_FILE,
    RUN_FILE,
    RunRecord,
)
from diptych_training.data.card import FACTS
from diptych_training.publishing.card import card
from diptych_training.publishing.provenance import provenance
from diptych_training.run_store import RunStore

AT_ROOT: Final = frozenset({"Diffusers", "Kohya", "Pipeline"})
"""Forms whose files lie at the top, where diffusers and the common pages look for them."""
PICTURES: Final = ("compare.png", "loss.png")


@dataclass(frozen=True)
class Item:
    """One file: its name in the parcel, and where its bytes are."""

    name: str
    content: Path | bytes

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes in hex."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        with self.content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is published of a run."""

    title: str
    items: tuple[Item, ...]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return sum(item.size for item in self.items)


@contextmanager
def packed(store: RunStore, environ: Mapping[str, str]) -> Iterator[Parcel]:
    """Give the parcel of a finished run. The same run gives the same bytes.

    Raises:
        UserError: when the run is not finished.
        ArtifactInvalid: when a file is not what artifact.json says.

    """
    record = store.read_json(RUN_FILE, RunRecord)
    artifact = store.read_json(f"{ARTIFACT}/{ARTIFACT_FILE}", ArtifactRecord)
    if record is None or artifact is None:
        raise UserError(f"{store.uri()} has no artifact yet.", hint="Publish a run that has succeeded.")
    report = store.read_json(f"{EVALUATION}/{EVALUATION_FILE}", EvaluationReport)
    origin = provenance(record, artifact, environ)
    store.write_json(PROVENANCE_FILE, origin)
    folder = store.get_folder(ARTIFACT)
    try:
        items = [*_weights(folder, artifact), *_evidence(store)]
        told = {"README.md": card(record, artifact, report, _of_data(store)), PROVENANCE_FILE: _json(origin)}
        named = {item.name: item for item in (*items, *(Item(name, text.encode()) for name, text in told.items()))}
        yield Parcel(record.name, tuple(named[name] for name in sorted(named)))
    finally:
        if not store.is_local:
            shutil.rmtree(folder, ignore_errors=True)


def _of_data(store: RunStore) -> dict[str, Any]:
    """Return what the preparation of the data set told; nothing where it cannot be read."""
    try:
        told = json.loads(store.read_bytes(f"{MANIFEST}/{FACTS}") or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _weights(folder: Path, artifact: ArtifactRecord) -> Iterator[Item]:
    """Yield the artifact's files, each checked against its record."""
    at_root = {FOLDERS[form] for form in artifact.formats if form in AT_ROOT}
    for name, facts in artifact.files.items():
        form, _, rest = name.partition("/")
        item = Item(rest if form in at_root else name, folder / name)
        leaves = ".." in PurePosixPath(name).parts or name.startswith("/")
        if leaves or not (folder / name).is_file() or item.sha256 != facts.sha256:
            raise ArtifactInvalid(
                f"{folder / name} is not the file that {ARTIFACT_FILE} tells.", hint="Restore it, or run the job again."
            )
        yield item
    yield Item(ARTIFACT_FILE, folder / ARTIFACT_FILE)


def _evidence(store: RunStore) -> Iterator[Item]:
    for name in (EVALUATION_FILE, "report.html", *PICTURES):
        if (data := store.read_bytes(f"{EVALUATION}/{name}")) is not None:
            yield Item(f"{EVALUATION}/{name}", data)


def _json(values: Mapping[str, object]) -> str:
    return f"{json.dumps(values, indent=2, ensure_ascii=False)}\n"
