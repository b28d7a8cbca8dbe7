"""What another run of the same job has learned already.

Every spec has a run of its own. Where two differ in nothing that training depends on, the second one begins with the
newest checkpoint of the first: what was asked of evaluation, gates, forms, places or pods alone costs no training.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from diptych_api.errors import DiptychError
from diptych_api.evaluation_report import EvaluationReport
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_api.runstore import (
    CHECKPOINTS,
    COMPLETE_FILE,
    EVALUATION,
    EVALUATION_FILE,
    METRICS_FILE,
    RUN_FILE,
    SAMPLES,
    RunRecord,
    checkpoint_name,
)
from diptych_training.checkpoint import newest_step, steps
from diptych_training.run_store import RunStore

OF_TRAINING: Final = frozenset({"method", "lora", "unet", "training"})
OF_PICTURES: Final = frozenset({"image", "caption_policy"})
"""Of the data set's fields: what all others come to is in the digest of its manifest, as the base's in its own."""
DAMAGED: Final = (DiptychError, OSError, ValueError, KeyError, TypeError)
"""What reading the files of another run may raise."""
DRAWN: Final = re.compile(r"step-(\d+)\.")


def training_key(spec: FineTuneJobSpec) -> str:
    """Return all of a spec that trained weights and losses depend on, beside the digests of base and data set."""
    whole = resolve(spec)
    values = whole.model_dump(mode="json", exclude_defaults=True, include=set(OF_TRAINING))
    values["dataset"] = whole.dataset.model_dump(mode="json", exclude_defaults=True, include=set(OF_PICTURES))
    values.get("training", {}).pop("checkpoint", None)
    return json.dumps({name: part for name, part in values.items() if part}, sort_keys=True)


def begin_with_earlier(store: RunStore, record: RunRecord) -> str | None:
    """Give a run that has no checkpoint yet that of an earlier run, with its losses, pictures and evaluation.

    The evaluation stands where all that it was made of is the same, which its key tells.

    Return the earlier run's name; None where there is none. A kill leaves the run as if nothing was begun with, or as
    begun: the mark that makes a checkpoint whole comes last.
    """
    if record.spec.lora.init_from is not None or newest_step(store, _ignored) is not None:
        return None
    for earlier in _alike(store, record):
        with suppress(*DAMAGED):  # or pruned or removed meanwhile
            if (step := newest_step(earlier, _ignored)) is not None:
                _copy(earlier, store, step, every=record.spec.training.early_stopping.enabled)
                return earlier.name
    return None


def _alike(store: RunStore, record: RunRecord) -> Iterator[RunStore]:
    """Yield the other runs of the job that train the same, the newest first."""
    names = re.compile(rf"{re.escape(record.name)}-[0-9a-f]{{8}}")
    found = list[tuple[RunRecord, RunStore]]()
    for name in store.beside().list():
        if names.fullmatch(name) and name != store.name:
            with suppress(*DAMAGED):
                other = store.beside(name).read_json(RUN_FILE, RunRecord)
                if other is not None and _same(other, record):
                    found.append((other, store.beside(name)))
    yield from (place for _, place in sorted(found, key=lambda one: one[0].created, reverse=True))


def _same(one: RunRecord, other: RunRecord) -> bool:
    digests = (one.base_digest, one.dataset_digest)
    known = None not in digests and digests == (other.base_digest, other.dataset_digest)
    return known and training_key(one.spec) == training_key(other.spec)


def _copy(earlier: RunStore, store: RunStore, step: int, *, every: bool) -> None:
    rows = [line for line in earlier.read_lines(METRICS_FILE) if line and json.loads(line)["step"] <= step]
    store.write_bytes(METRICS_FILE, "".join(f"{row}\n" for row in rows).encode())
    for name in earlier.list(SAMPLES):
        drawn = DRAWN.search(name)
        if drawn and int(drawn[1]) <= step and (data := earlier.read_bytes(f"{SAMPLES}/{name}")) is not None:
            store.write_bytes(f"{SAMPLES}/{name}", data)
    if (report := earlier.read_json(f"{EVALUATION}/{EVALUATION_FILE}", EvaluationReport)) is not None:
        _copy_folder(earlier, store, EVALUATION, EVALUATION_FILE)
        store.write_json(f"{EVALUATION}/{EVALUATION_FILE}", report.model_copy(update={"run": store.name}))
    for number in [each for each in steps(earlier) if every or each == step]:
        _copy_folder(earlier, store, f"{CHECKPOINTS}/{checkpoint_name(number)}", COMPLETE_FILE)


def _copy_folder(earlier: RunStore, store: RunStore, path: str, last: str) -> None:
    folder = earlier.get_folder(path)
    try:
        store.put_folder(folder, path, last=last)
    finally:
        if not earlier.is_local:
            shutil.rmtree(folder, ignore_errors=True)


def _ignored(_: str) -> None:
    """Hear of a checkpoint that is damaged: another one is taken, or none."""
