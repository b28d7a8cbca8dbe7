"""Volumes of a job: its claims, where they appear, and where the run store is."""

from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from diptych_api.cluster import Pods
from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.names import WORKSPACE
from diptych_api.runstore import run_folder, run_name
from diptych_api.sources import Claim
from diptych_operator.manifests.spec_names import check_claim
from diptych_operator.manifests.volumes import Mount, claim_folder, claim_mounts

HINT: Final = (
    "Set output.pvc, an object store such as s3://bucket/runs, or a folder below a writable mount of pods.volumes."
)


def job_mounts(spec: FineTuneJobSpec) -> tuple[Mount, ...]:
    """Return the mounts of the claims that the spec names. Only that of the output may be written.

    Raises:
        SpecInvalid: for names that no claim has, and for an output that would go with the pod.

    """
    return claim_mounts(_claims(spec))


def store_mounts(spec: FineTuneJobSpec) -> tuple[Mount, ...]:
    """Return the mount of the claim with the run store, where it is on one."""
    claim = _output_claim(spec)
    return () if claim is None else claim_mounts({claim.claim_name: True})


def mount_folders(spec: FineTuneJobSpec) -> dict[str, str]:
    """Return where each claim of the spec is mounted, by its name."""
    return {claim: claim_folder(claim) for claim in sorted(_claims(spec))}


def run_place(job: FineTuneJob) -> str:
    """Return the folder of the job's run, as its pods see it."""
    output = _output_claim(job.spec)
    root = str(PurePosixPath(claim_folder(output.claim_name)) / output.path) if output else job.spec.output.uri or ""
    return run_folder(root, job.metadata.namespace, run_name(job.metadata.name, job.spec))


def _output_claim(spec: FineTuneJobSpec) -> Claim | None:
    """Return the claim with the run store: a relative path is a folder of the workspace."""
    output = spec.output
    return Claim(claim_name=WORKSPACE, path=output.uri) if _is_relative(output.uri) and output.uri else output.pvc


def _claims(spec: FineTuneJobSpec) -> dict[str, bool]:
    """Return the claims by name, and whether pods write there. Raises SpecInvalid."""
    _check_output(spec)
    fields = {"output": _output_claim(spec), "dataset.source": spec.dataset.source.pvc, "base": spec.base.pvc}
    asked = spec.evaluation
    suite = asked.suite if asked.suite and asked.suite.endswith(".txt") else None
    read = (spec.dataset.source.uri, spec.base.uri, asked.rivals, suite, *(place for _, place in asked.extractors))
    found = {WORKSPACE: False} if any(map(_is_relative, read)) else {}
    for field, claim in fields.items():
        if claim is not None:
            check_claim(claim, f"{field}.pvc")
            found[claim.claim_name] = found.get(claim.claim_name, False) or field == "output"
    return found


def _check_output(spec: FineTuneJobSpec) -> None:
    uri = spec.output.uri
    if uri is None or ("://" in uri and not uri.startswith("file://")):
        return
    path = unquote(urlsplit(uri).path) if uri.startswith("file://") else uri
    if _is_relative(uri):
        if {"..", "~"} & set(PurePosixPath(uri).parts):
            raise SpecInvalid(f"output.uri: {uri!r} is no folder of the workspace, the claim {WORKSPACE}.", hint=HINT)
    elif not _is_mounted(path, spec.resources.pods):
        raise SpecInvalid(f"output.uri: {uri!r} is below no writable mount, so it would go with the pod.", hint=HINT)


def _is_relative(uri: str | None) -> bool:
    return uri is not None and "://" not in uri and not uri.startswith("/")


def _is_mounted(path: str, pods: Pods) -> bool:
    folder = PurePosixPath(path)
    mounts = [volume.mount_path for volume in pods.volumes if not volume.read_only]
    return ".." not in folder.parts and any(folder.is_relative_to(mount) for mount in mounts)
