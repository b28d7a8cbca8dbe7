"""The spec that a run was made of, with other settings of what comes after training."""

from collections.abc import Sequence

from diptych_api.errors import UserError
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_api.resource import ObjectMeta
from diptych_api.runstore import RUN_FILE
from diptych_api.yaml_reader import read_resources, write_resource
from diptych_cli.runs import record_of, shown
from diptych_training.run_store import RunStore


def changed_spec(store: RunStore, overrides: Sequence[str]) -> FineTuneJobSpec:
    """Return the spec of a run with other settings of its evaluation. Raises SpecInvalid, UserError."""
    record = record_of(store)
    if record is None:
        raise UserError(f"{shown(store.uri())} was not begun.", hint="Start it with diptych run.")
    job = FineTuneJob(metadata=ObjectMeta(name=record.name), spec=record.spec)
    (changed,) = read_resources(write_resource(job), RUN_FILE, overrides)
    if not isinstance(changed, FineTuneJob):
        raise TypeError(changed.kind)
    return resolve(changed.spec)
