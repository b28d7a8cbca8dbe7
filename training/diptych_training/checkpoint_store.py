"""Checkpoints in a run store: saved whole or not at all, checked when read."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from diptych_api.errors import CheckpointCorrupt
from diptych_api.report import CheckpointRef
from diptych_api.runstore import CHECKPOINTS, COMPLETE_FILE, checkpoint_name, checkpoint_step
from diptych_training.checkpoint_files import (
    CheckpointState,
    parse_marker,
    read_marker,
    read_state,
    verify,
    write_state,
)
from diptych_training.run_store import RunStore
from diptych_training.run_store_errors import writing
from diptych_training.run_store_local import make_folder, publish_folder, remove_unfinished, temporary_beside


def steps(store: RunStore) -> list[int]:
    """Return the steps that have a folder, good or not, in rising order."""
    found = (checkpoint_step(name) for name in store.list(CHECKPOINTS))
    return sorted(step for step in found if step is not None)


def save(store: RunStore, step: int, state: CheckpointState) -> CheckpointRef:
    """Save a state under its step; one of the same step is replaced.

    Raises:
        StoreUnwritable: when the store refuses; older checkpoints are untouched.

    """
    path = _path(step)
    with writing(store.uri(path), is_remote=not store.is_local):
        if target := store.local(path):
            _save_local(target, step, state)
        else:
            _save_remote(store, step, state)
    return CheckpointRef(step=step, uri=store.uri(path), time=datetime.now(UTC))


def load(store: RunStore, step: int) -> CheckpointState:
    """Return the state of a step, bit for bit. Raises CheckpointCorrupt where any file is missing or damaged."""
    with _folder(store, step) as folder:
        return read_state(folder, step)


def newest_step(store: RunStore, on_skip: Callable[[str], None]) -> int | None:
    """Return what newest returns without its state: the files are hashed, in an object store measured."""
    for step in reversed(steps(store)):
        try:
            _check(store, step)
        except CheckpointCorrupt as error:
            on_skip(error.message)
        else:
            return step
    return None


def newest(store: RunStore, on_skip: Callable[[str], None]) -> tuple[int, CheckpointState] | None:
    """Return step and state of the newest checkpoint whose files are whole, None where there is none.

    ``on_skip`` is told of every newer one that is damaged.
    """
    for step in reversed(steps(store)):
        try:
            return step, load(store, step)
        except CheckpointCorrupt as error:
            on_skip(error.message)
    return None


def prune(store: RunStore, keep: int, also: Collection[int] = ()) -> None:
    """Remove all but the ``keep`` newest checkpoints and the steps in ``also``.

    The newest whole one always stays, and so does what is newer than it.
    """
    found = steps(store)
    last = next((step for step in reversed(found) if _is_whole(store, step)), None)
    if last is None:
        return
    older = [step for step in found if step <= last]
    marked = [step for step in older if store.exists(_path(step, COMPLETE_FILE))]
    kept = {last, *also, *marked[-max(1, keep) :]}
    for step in older:
        if step not in kept:
            store.remove(_path(step, COMPLETE_FILE))  # first, so that a half removed one never looks whole
            store.remove(_path(step))


def clear(store: RunStore) -> None:
    """Remove what killed writers left. Nobody else may be saving."""
    if (folder := store.local(CHECKPOINTS)) and folder.exists():
        with writing(store.uri(CHECKPOINTS), is_remote=False):
            remove_unfinished(folder)


def _path(step: int, *parts: str) -> str:
    return "/".join([CHECKPOINTS, checkpoint_name(step), *parts])


def _save_local(target: Path, step: int, state: CheckpointState) -> None:
    make_folder(target.parent)
    temporary = temporary_beside(target)
    try:
        write_state(temporary, step, state)
        if not _is_same(target, temporary, step):
            publish_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_same(old: Path, new: Path, step: int) -> bool:
    """Return whether a whole checkpoint with the same content is there already, as after a resume."""
    try:
        return verify(old, step) == read_marker(new, step)
    except CheckpointCorrupt:
        return False


def _save_remote(store: RunStore, step: int, state: CheckpointState) -> None:
    with writing(tempfile.gettempdir(), is_remote=False), tempfile.TemporaryDirectory(prefix="diptych-") as scratch:
        folder = Path(scratch, "checkpoint")
        write_state(folder, step, state)
        store.put_folder(folder, _path(step), last=COMPLETE_FILE)


@contextmanager
def _folder(store: RunStore, step: int) -> Iterator[Path]:
    """Give the folder of a checkpoint on this machine for the time of the body."""
    if not store.exists(_path(step, COMPLETE_FILE)):
        raise CheckpointCorrupt(f"{store.uri(_path(step))} is not complete: it has no {COMPLETE_FILE}.")
    folder = store.get_folder(_path(step))
    try:
        yield folder
    finally:
        if not store.is_local:
            shutil.rmtree(folder, ignore_errors=True)


def _is_whole(store: RunStore, step: int) -> bool:
    try:
        _check(store, step)
    except CheckpointCorrupt:
        return False
    return True


def _check(store: RunStore, step: int) -> None:
    """Raise CheckpointCorrupt where files are not as the marker says; in an object store only their sizes are seen."""
    if local := store.local(_path(step)):
        verify(local, step)
        return
    place = store.uri(_path(step))
    data = store.read_bytes(_path(step, COMPLETE_FILE))
    if data is None:
        raise CheckpointCorrupt(f"{place} is not complete: it has no {COMPLETE_FILE}.")
    sizes = store.sizes(_path(step))
    for name, record in parse_marker(data, place, step).files.items():
        if sizes.get(name) != record.size:
            raise CheckpointCorrupt(f"{place}/{name} has {sizes.get(name)} bytes and should have {record.size}.")
