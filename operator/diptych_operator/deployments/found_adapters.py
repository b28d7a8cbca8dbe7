"""Adapters with their files found: what `uri`, `fromJob` and `fromModel` come to at this moment."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from diptych_api.adapters import Adapter
from diptych_api.cluster import Pods
from diptych_api.finetunejob import FineTuneJob
from diptych_api.resource import Condition
from diptych_api.servingconfig import ServedAdapter
from diptych_operator.jobs.promoted import TYPE
from diptych_operator.manifests.serving_inputs import claim_of
from diptych_operator.models.versions import run_of
from diptych_operator.observed import DeploymentSeen

LONGEST_MESSAGE: Final = 1024
OVER: Final = frozenset({"Failed", "Cancelled"})


@dataclass(frozen=True, slots=True)
class FoundAdapter:
    """An adapter as it is served, and why it has no files where it has none."""

    served: ServedAdapter
    state: Literal["Waiting", "Failed", "Found"] = "Found"
    message: str = ""


def found_adapters(seen: DeploymentSeen) -> tuple[FoundAdapter, ...]:
    """Return the adapters of a deployment in their order."""
    return tuple(_found(adapter, seen) for adapter in seen.deployment.spec.adapters)


def served(found: tuple[FoundAdapter, ...]) -> list[ServedAdapter]:
    """Return what engines are told."""
    return [adapter.served for adapter in found]


def _found(adapter: Adapter, seen: DeploymentSeen) -> FoundAdapter:
    if adapter.from_job is not None:
        found = _of_job(adapter, adapter.from_job.name, seen)
    elif adapter.from_model is not None:
        found = _of_model(adapter, adapter.from_model.name, seen)
    else:
        found = FoundAdapter(_served(adapter, adapter.uri, adapter.digest, None))
    uri = found.served.uri
    if uri is not None and not _is_seen_by_pods(uri, seen.deployment.spec.pods):
        text = f"{uri} is a folder that no pod of the deployment has. Mount its volume there by pods.volumes."
        return _without(adapter, "Failed", text)
    return found


def _of_job(adapter: Adapter, name: str, seen: DeploymentSeen) -> FoundAdapter:
    """Return the artifact of a job that succeeded: only then its files were checked."""
    job = seen.jobs.get(name)
    if job is None:
        return _without(adapter, "Waiting", f"There is no FineTuneJob {name} in this namespace.")
    status = job.status
    if status.phase in OVER:
        return _without(adapter, "Failed", f"FineTuneJob {name} has no artifact: it is {status.phase}.")
    if status.phase != "Succeeded" or status.artifact is None:
        return _without(adapter, "Waiting", f"FineTuneJob {name} is {status.phase}; its artifact comes at the end.")
    if (told := _promotion(job)) is not None and told.status != "True":
        return _without(adapter, "Waiting", f"FineTuneJob {name} is not served before it is promoted. {told.message}")
    return FoundAdapter(_served(adapter, status.artifact.uri, status.artifact.digest, run_of(job)))


def _promotion(job: FineTuneJob) -> Condition | None:
    """Return what a job with gates tells of its promotion; None also in the moment after an upgrade."""
    return next((told for told in job.status.conditions if told.type == TYPE), None)


def _of_model(adapter: Adapter, name: str, seen: DeploymentSeen) -> FoundAdapter:
    model = seen.models.get(name)
    if model is None:
        return _without(adapter, "Waiting", f"There is no DiffusionModel {name} in this namespace.")
    current = model.status.current
    if current is None:
        return _without(adapter, "Waiting", f"DiffusionModel {name} has no version yet; none was promoted.")
    return FoundAdapter(_served(adapter, current.uri, current.digest, current.run))


def _served(adapter: Adapter, uri: str | None, digest: str | None, run: str | None) -> ServedAdapter:
    return ServedAdapter(name=adapter.name, uri=uri, digest=digest, run=run, strength=adapter.strength)


def _without(adapter: Adapter, state: Literal["Waiting", "Failed"], message: str) -> FoundAdapter:
    return FoundAdapter(_served(adapter, None, None, None), state, message[:LONGEST_MESSAGE])


def _is_seen_by_pods(uri: str, pods: Pods) -> bool:
    """Whether pods of the deployment can open a place: a store, a claim, or a folder that the spec mounts."""
    if "://" in uri and not uri.startswith("file://"):
        return True
    path = PurePosixPath(uri.removeprefix("file://"))
    if ".." in path.parts:
        return False
    return claim_of(uri) is not None or any(path.is_relative_to(volume.mount_path) for volume in pods.volumes)
