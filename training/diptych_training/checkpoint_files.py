"""A checkpoint as a folder: a safetensors file for each group, meta.json, and complete.json with their hashes.

complete.json is written last, and a checkpoint counts only when every file is as it says.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError
from torch import Tensor

from diptych_api.errors import CheckpointCorrupt
from diptych_api.fields import Count, Record, Sha256, Text
from diptych_api.runstore import COMPLETE_FILE
from diptych_diffusion.fingerprint import file_digest
from diptych_diffusion.safe_files import load_tensors
from diptych_training.checkpoint_tensors import HashedFile, write_tensors

META_FILE: Final = "meta.json"
SUFFIX: Final = ".safetensors"
GROUP_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """All that training needs to go on: tensors on the CPU by group and name, and JSON values."""

    groups: Mapping[str, Mapping[str, Tensor]]
    meta: Mapping[str, Any]


class FileRecord(Record):
    """What a file of a checkpoint must be."""

    sha256: Sha256 = Field(description="Digest of its bytes.")
    size: Count = Field(description="Length in bytes.")


class Marker(Record):
    """complete.json."""

    format: Literal["diptych.checkpoint/1"] = Field(default="diptych.checkpoint/1", description="Form of the folder.")
    step: Count = Field(description="Optimiser step.")
    files: dict[Text, FileRecord] = Field(description="Every other file of the folder.")


def write_state(folder: Path, step: int, state: CheckpointState) -> None:
    """Write a state into a new folder. The same state gives the same bytes. Raises OSError as the disk does."""
    folder.mkdir(parents=True)
    meta = f"{json.dumps(state.meta, indent=2, sort_keys=True)}\n".encode()
    records = {META_FILE: _write(folder / META_FILE, lambda file: file.write(meta))}
    for group, tensors in state.groups.items():
        if not GROUP_NAME.fullmatch(group):
            raise ValueError(f"not a name for a group of tensors: {group!r}")
        name = f"{group}{SUFFIX}"
        records[name] = _write(folder / name, partial(write_tensors, tensors=tensors))
    marker = Marker(step=step, files=dict(sorted(records.items())))
    (folder / COMPLETE_FILE).write_text(marker.model_dump_json(by_alias=True, indent=2), encoding="utf-8")


def read_marker(folder: Path, step: int) -> Marker:
    """Return what complete.json says. Raises CheckpointCorrupt where it is missing, damaged or of another step."""
    try:
        data = (folder / COMPLETE_FILE).read_bytes()
    except FileNotFoundError as error:
        raise CheckpointCorrupt(f"{folder} is not complete: it has no {COMPLETE_FILE}.") from error
    except OSError as error:
        raise CheckpointCorrupt(f"{folder / COMPLETE_FILE} cannot be read: {error}") from error
    return parse_marker(data, str(folder), step)


def parse_marker(data: bytes, place: str, step: int) -> Marker:
    """Return the marker in bytes that were read at ``place``. Raises CheckpointCorrupt as read_marker does."""
    try:
        marker = Marker.model_validate_json(data)
    except ValidationError as error:
        raise CheckpointCorrupt(f"{place}/{COMPLETE_FILE} cannot be read: {error}") from error
    strange = [
        name for name in marker.files if name != META_FILE and not GROUP_NAME.fullmatch(name.removesuffix(SUFFIX))
    ]
    if strange or marker.step != step or META_FILE not in marker.files:
        raise CheckpointCorrupt(f"{place}/{COMPLETE_FILE} does not describe the checkpoint of step {step}.")
    return marker


def verify(folder: Path, step: int) -> Marker:
    """Return the marker once every file has been read and found as it says. Raises CheckpointCorrupt otherwise."""
    marker = read_marker(folder, step)
    for name, record in marker.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
            if size != record.size:
                raise CheckpointCorrupt(f"{path} has {size} bytes and should have {record.size}.")
            if file_digest(path) != record.sha256:
                raise CheckpointCorrupt(f"{path} is damaged: its checksum is wrong.")
        except OSError as error:
            raise CheckpointCorrupt(f"{path} cannot be read: {error.strerror or error}.") from error
    return marker


def read_state(folder: Path, step: int) -> CheckpointState:
    """Return the state in a folder, bit for bit. Raises CheckpointCorrupt as verify does."""
    files = verify(folder, step).files
    groups = {
        name.removesuffix(SUFFIX): load_tensors(folder / name, error=CheckpointCorrupt)
        for name in files
        if name.endswith(SUFFIX)
    }
    return CheckpointState(groups=groups, meta=json.loads((folder / META_FILE).read_bytes()))


def _write(path: Path, write: Callable[[HashedFile], None]) -> FileRecord:
    with path.open("xb") as file:
        hashed = HashedFile(file)
        write(hashed)
    return FileRecord(sha256=hashed.sha256, size=hashed.size)
