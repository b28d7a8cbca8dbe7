"""Which run a model's name stands for on one machine: one small file beside the runs, replaced in one step."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from diptych_api.artifact import ArtifactRecord, files_digest
from diptych_api.diffusionmodel import ModelPointer, ModelVersion
from diptych_api.errors import RetryLater, UserError
from diptych_api.report import MetricValue
from diptych_api.runstore import ARTIFACT, ARTIFACT_FILE, MODEL_FILE, MODELS
from diptych_training.letters import Finished
from diptych_training.run_store import RunStore
from diptych_training.share import Share

MOST_REMEMBERED: Final = 50
PERSON: Final = "a person"
Change = Callable[[ModelPointer], ModelPointer]


def promoted(pointer: ModelPointer, version: ModelVersion) -> ModelPointer:
    """Put a version in front; the name stands for it unless it is pinned. A version that is in front stays there."""
    if pointer.history and pointer.history[0].run == version.run:
        return pointer
    older = [other for other in pointer.history if other.run != version.run]
    grown = pointer.model_copy(update={"history": [version, *older][:MOST_REMEMBERED]})
    return grown if pointer.pin is not None else _stand_for(grown, version)


def pinned(pointer: ModelPointer, version: ModelVersion) -> ModelPointer:
    """Let the name stand for a version, whatever is promoted later."""
    known = any(other.run == version.run for other in pointer.history)
    history = pointer.history if known else [version, *pointer.history][:MOST_REMEMBERED]
    return _stand_for(pointer.model_copy(update={"pin": version.run, "history": history}), version)


def unpinned(pointer: ModelPointer) -> ModelPointer:
    """Let the name stand for what was promoted last."""
    free = pointer.model_copy(update={"pin": None})
    return _stand_for(free, pointer.history[0]) if pointer.history else free


def rival_of(pointer: ModelPointer | None, run: str) -> ModelVersion | None:
    """Return the version that a run must beat: the current one or, where that is the run itself, the one before."""
    if pointer is None or pointer.current is None or pointer.current.run != run:
        return None if pointer is None else pointer.current
    return pointer.previous


def rival_for(share: Share, model: str) -> ModelVersion | None:
    """Return the version of a model that a run must beat: as the place remembers it, or as the cluster told."""
    pointer = read_pointer(share.store, model) if share.promotes else share.standing
    return rival_of(pointer, share.store.name)


def model_store(store: RunStore, model: str) -> RunStore:
    """Return where a model of the run's namespace is remembered."""
    return store.beside(MODELS, model)


def read_pointer(store: RunStore, model: str) -> ModelPointer | None:
    """Return what is remembered of a model; None before its first promotion. Raises RunFailed for a damaged file."""
    return model_store(store, model).read_json(MODEL_FILE, ModelPointer)


def change_pointer(store: RunStore, model: str, change: Change) -> ModelPointer:
    """Change what a model stands for, one process at a time. A crash leaves the old file or the new one.

    Raises:
        RetryLater: when another process changes it right now.

    """
    there = model_store(store, model)
    with there.lock():
        before = there.read_json(MODEL_FILE, ModelPointer) or ModelPointer()
        after = change(before)
        if after != before:
            there.write_json(MODEL_FILE, after)
    return after


def promote_over(store: RunStore, model: str, version: ModelVersion, rival: str | None) -> ModelPointer:
    """Promote a run that beat ``rival``.

    Raises:
        RetryLater: when the model stands for another version by now, which the run was not held against.

    """

    def change(pointer: ModelPointer) -> ModelPointer:
        now = rival_of(pointer, version.run)
        if (now.run if now else None) != rival:
            raise RetryLater(
                f"{now.run if now else 'Nothing'} became the version of {model} while {version.run} was evaluated.",
                hint="Run the same command again: it is held against that one.",
            )
        return promoted(pointer, version)

    return change_pointer(store, model, change)


def promote_decided(store: RunStore, job: str, finished: Finished) -> None:
    """Promote a job's finished run where its gates decided so. Raises RetryLater as promote_over does."""
    decision = finished.gate
    if decision is not None and decision.outcome == "Promoted":
        version = version_of(store, job, list(finished.metrics), f"gates of {job}")
        promote_over(store, decision.model, version, decision.rival)


def version_of(store: RunStore, job: str | None, metrics: list[MetricValue], by: str) -> ModelVersion:
    """Return a finished run as a version. Raises UserError when it left no artifact."""
    record = store.read_json(f"{ARTIFACT}/{ARTIFACT_FILE}", ArtifactRecord)
    if record is None:
        raise UserError(f"{store.uri()} has no artifact.", hint="Only a run that ended well can be promoted.")
    return ModelVersion(
        run=store.name,
        job=job,
        uri=store.uri(ARTIFACT),
        digest=files_digest(record.files),
        metrics=metrics,
        promoted_at=datetime.now(UTC).replace(microsecond=0),
        promoted_by=by,
    )


def _stand_for(pointer: ModelPointer, version: ModelVersion) -> ModelPointer:
    if pointer.current is not None and pointer.current.run == version.run:
        return pointer
    return pointer.model_copy(update={"current": version, "previous": pointer.current})
