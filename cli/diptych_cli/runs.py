"""Finding a run: by its folder, or by the YAML that it was started from."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from diptych_api.errors import UserError
from diptych_api.finetunejob import FineTuneJob
from diptych_api.presets import resolve
from diptych_api.report import Phase, Report
from diptych_api.runstore import LOCAL_NAMESPACE, RUN_FILE, STATUS_FILE, RunRecord, run_name
from diptych_cli.job_file import read_job
from diptych_cli.where import is_path
from diptych_diffusion.object_store import file_system
from diptych_training.run_store import RunStore
from diptych_training.run_store_lock import LOCK_FILE

ENDED: frozenset[Phase] = frozenset({"Succeeded", "Failed", "Suspended", "Cancelled"})


def find_run(target: str, overrides: Sequence[str] = ()) -> RunStore:
    """Return the store of a run that was begun.

    Raises:
        UserError: when there is no run.
        SpecInvalid: for a YAML that is wrong.

    """
    path = Path(target)
    if path.suffix in {".yaml", ".yml"} and not path.is_dir():
        store = store_of(read_job(path, overrides))
        hint = f"Start it: diptych run {target}. A run with --set is found with the same --set."
    else:
        fs, root = file_system(target)
        store = RunStore(fs, root.rstrip("/"))
        hint = "List all runs: diptych status"
        if not is_path(target):
            hint += f". A job on a cluster: diptych logs {target}"
    if not (store.exists(STATUS_FILE) or store.exists(RUN_FILE)):
        raise UserError(f"There is no run in {shown(store.uri())}.", hint=hint)
    return store


def store_of(job: FineTuneJob) -> RunStore:
    """Return the store of a job's run, begun or not."""
    output, namespace = resolve(job.spec).output, job.metadata.namespace or LOCAL_NAMESPACE
    return RunStore.open(output, namespace, run_name(job.metadata.name, job.spec), Path.cwd())


def report_of(store: RunStore) -> Report | None:
    """Return the newest report of a run."""
    return store.read_json(STATUS_FILE, Report)


def record_of(store: RunStore) -> RunRecord | None:
    """Return what a run is made of; None before its data set is prepared."""
    return store.read_json(RUN_FILE, RunRecord)


def is_going(store: RunStore, report: Report | None) -> bool:
    """Whether a process works on the run."""
    if report is None or report.phase in ENDED:
        return False
    lock = store.local(LOCK_FILE)
    if lock is None:
        return store.leaseholder() is not None
    if not lock.exists():
        return False
    holder = lock.read_text(encoding="utf-8").strip()
    return holder.isdecimal() and _is_alive(int(holder))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def shown(uri: str) -> str:
    """Return a location as people type it: a local path, from the current folder on if it is below it."""
    if not uri.startswith("file://") and "://" in uri:
        return uri
    path = Path(unquote(uri.removeprefix("file://"))) if uri.startswith("file://") else Path(uri)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
