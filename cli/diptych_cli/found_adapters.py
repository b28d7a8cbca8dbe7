"""The adapters of a deployment, found on this machine: what jobs have left, and what models stand for by now."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from diptych_api.adapters import Adapter
from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.diffusionmodel import ModelPointer
from diptych_api.errors import DiptychError, UserError
from diptych_api.report import Report
from diptych_api.runstore import ARTIFACT, ARTIFACT_FILE, MODEL_FILE, MODELS, RUN_FILE, STATUS_FILE, RunRecord
from diptych_api.servingconfig import ServedAdapter
from diptych_cli.artifact_files import verified
from diptych_cli.runs import shown

RecordT = TypeVar("RecordT", bound=BaseModel)


def find_adapters(spec: DiffusionDeploymentSpec, folder: Path) -> list[ServedAdapter]:
    """Return the adapters with their files. ``folder`` is that of a namespace, which jobs on this machine write to.

    Raises:
        UserError: when a job has left no adapter there that may be served, or a model's file cannot be read.
        ArtifactInvalid: when the files of a job's adapter differ from what it wrote.

    """
    return [_find(adapter, folder) for adapter in spec.adapters]


@dataclass
class Models:
    """Looks again and again at what the models of a deployment stand for, and at what its jobs have left."""

    spec: DiffusionDeploymentSpec
    folder: Path
    adapters: list[ServedAdapter]
    """As they are served."""
    tell: Callable[[str], None]
    """Hears of what cannot be read; the version that is served stays."""

    def newer(self) -> list[ServedAdapter] | None:
        """Return all adapters once one has another version than the one that is served, else None."""
        wanted = [self._now(adapter, old) for adapter, old in zip(self.spec.adapters, self.adapters, strict=True)]
        return None if wanted == self.adapters else wanted

    def _now(self, adapter: Adapter, old: ServedAdapter) -> ServedAdapter:
        try:
            return _newer(adapter, old, self.folder)
        except DiptychError as error:
            self.tell(str(error))
            return old


def _find(adapter: Adapter, folder: Path) -> ServedAdapter:
    if adapter.from_model is not None:
        return _of_model(adapter, adapter.from_model.name, folder)
    if adapter.from_job is not None:
        return _of_job(adapter, adapter.from_job.name, folder)
    uri = adapter.uri or ""
    place = uri if "://" in uri else str(Path(uri).expanduser().absolute())
    return ServedAdapter(name=adapter.name, uri=place, digest=adapter.digest, strength=adapter.strength)


def _newer(adapter: Adapter, old: ServedAdapter, folder: Path) -> ServedAdapter:
    """Return an adapter as it is now. A job's files are read only when another run of it is to be served."""
    if adapter.from_model is not None:
        return _of_model(adapter, adapter.from_model.name, folder)
    if adapter.from_job is None or _newest_run(adapter.from_job.name, folder).name == old.run:
        return old
    return _of_job(adapter, adapter.from_job.name, folder)


def _of_job(adapter: Adapter, job: str, folder: Path) -> ServedAdapter:
    run = _newest_run(job, folder)
    record = verified(run / ARTIFACT)
    if record.method == "FromScratch":
        raise UserError(
            f"Adapter {adapter.name}: {shown(str(run))} holds no adapter, but a whole model.",
            hint="Serve it as spec.base.uri.",
        )
    uri = str((run / ARTIFACT).absolute())
    return ServedAdapter(name=adapter.name, uri=uri, run=record.run, strength=adapter.strength)


def _of_model(adapter: Adapter, model: str, folder: Path) -> ServedAdapter:
    """Return what a model stands for; without files before its first promotion. Engines check the digest."""
    file = folder / MODELS / model / MODEL_FILE
    try:
        version = ModelPointer.model_validate_json(file.read_bytes()).current
    except FileNotFoundError:
        version = None
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise UserError(
            f"Adapter {adapter.name}: {shown(str(file))} cannot be read: {why}.",
            hint=f"Move it away, then promote a run: diptych promote {model} RUN.",
        ) from error
    if version is None:
        return ServedAdapter(name=adapter.name, strength=adapter.strength)
    here = folder / version.run / ARTIFACT
    uri = str(here.absolute()) if here.is_dir() else version.uri
    return ServedAdapter(name=adapter.name, uri=uri, digest=version.digest, run=version.run, strength=adapter.strength)


def _newest_run(job: str, folder: Path) -> Path:
    """Return the newest run of a job that left an artifact which no gate withholds.

    Run names end in a dash and eight hex digits.
    """
    records = [path / ARTIFACT / ARTIFACT_FILE for path in folder.glob(f"{job}-????????")]
    finished = sorted(path for path in records if path.is_file())
    if not finished:
        raise UserError(
            f"Job {job} has left no adapter in {shown(str(folder.absolute()))}.",
            hint="Run it first: diptych run JOB.yaml. --runs names the folder that it writes to.",
        )
    served = [path.parent.parent for path in finished if not _withheld(path.parent.parent, folder)]
    if not served:
        raise UserError(
            f"Job {job} has left no adapter that was promoted in {shown(str(folder.absolute()))}.",
            hint="Why not is in the run's evaluation/report.html. By hand: diptych promote MODEL RUN --output RUNS.",
        )
    return max(served, key=lambda run: (run / ARTIFACT / ARTIFACT_FILE).stat().st_mtime)


def _withheld(run: Path, folder: Path) -> bool:
    """Whether a run that asks to be promoted was not: not yet, or turned down, and nobody promoted it by hand."""
    report, record = _read(run / STATUS_FILE, Report), _read(run / RUN_FILE, RunRecord)
    gate, asked = report.gate if report else None, record.spec.promotion if record else None
    if (gate is None and asked is None) or (gate is not None and gate.outcome == "Promoted"):
        return False
    model = gate.model if gate is not None else asked.model if asked is not None else ""
    pointer = _read(folder / MODELS / model / MODEL_FILE, ModelPointer)
    return pointer is None or run.name not in {version.run for version in pointer.history}


def _read(path: Path, model: type[RecordT]) -> RecordT | None:
    """Return what a file holds; None where it is missing or cannot be read."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
