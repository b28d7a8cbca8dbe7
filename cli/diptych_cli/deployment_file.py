"""A deployment's YAML, and the adapters that it names, found on this machine."""

from collections.abc import Sequence
from pathlib import Path

from diptych_api.adapters import Adapter
from diptych_api.diffusiondeployment import DiffusionDeployment, DiffusionDeploymentSpec
from diptych_api.errors import SpecInvalid, UnsupportedHere, UserError
from diptych_api.runstore import ARTIFACT, ARTIFACT_FILE, LOCAL_NAMESPACE
from diptych_api.servingconfig import ServedAdapter
from diptych_api.yaml_reader import read_resource
from diptych_cli.artifact_files import verified
from diptych_cli.runs import shown


def read_deployment(path: Path, overrides: Sequence[str] = ()) -> DiffusionDeployment:
    """Return the DiffusionDeployment of a file. Raises SpecInvalid."""
    resource = read_resource(path, overrides)
    if not isinstance(resource, DiffusionDeployment):
        raise SpecInvalid(f"{path} is a {resource.kind}.", hint="Give a DiffusionDeployment.")
    return resource


def find_adapters(spec: DiffusionDeploymentSpec, namespace: str | None, runs: Path) -> list[ServedAdapter]:
    """Return the adapters with their files. ``runs`` is the folder that jobs on this machine write to.

    Raises:
        UserError: when a job has left no adapter there, or one whose files differ from what it wrote.
        UnsupportedHere: for fromModel.

    """
    return [_find(adapter, namespace or LOCAL_NAMESPACE, runs) for adapter in spec.adapters]


def _find(adapter: Adapter, namespace: str, runs: Path) -> ServedAdapter:
    if adapter.from_model is not None:
        raise UnsupportedHere(f"Adapter {adapter.name}: fromModel is not supported yet.", hint="Use fromJob or uri.")
    if adapter.from_job is None:
        uri = adapter.uri or ""
        place = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        return ServedAdapter(name=adapter.name, uri=place, digest=adapter.digest, strength=adapter.strength)
    folder = _newest_run(adapter.from_job.name, runs / namespace)
    record = verified(folder / ARTIFACT)
    if record.method == "FromScratch":
        raise UserError(
            f"Adapter {adapter.name}: {shown(str(folder))} holds no adapter, but a whole model.",
            hint="Serve it as spec.base.uri.",
        )
    uri = str((folder / ARTIFACT).absolute())
    return ServedAdapter(name=adapter.name, uri=uri, run=record.run, strength=adapter.strength)


def _newest_run(job: str, folder: Path) -> Path:
    """Return the newest run of a job that left an artifact. Run names end in a dash and eight hex digits."""
    records = [path / ARTIFACT / ARTIFACT_FILE for path in folder.glob(f"{job}-????????")]
    finished = [path for path in records if path.is_file()]
    if not finished:
        raise UserError(
            f"Job {job} has left no adapter in {shown(str(folder.absolute()))}.",
            hint="Run it first: diptych run JOB.yaml. --runs names the folder that it writes to.",
        )
    return max(finished, key=lambda path: path.stat().st_mtime).parent.parent
