"""Which resources an object belongs to, and which others a resource names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from diptych_api.names import DEPLOYMENT_LABEL, JOB_LABEL
from diptych_operator.kinds import (
    DIFFUSION_DEPLOYMENT,
    DIFFUSION_MODEL,
    FINE_TUNE_JOB,
    FINE_TUNE_REPORT,
    RAY_JOB,
    RAY_SERVICE,
    Kind,
    Manifest,
    Ref,
    ref_of,
)

RAY_CLUSTER: Final = Kind("ray.io", "v1", "rayclusters", "RayCluster")
"""Never read: only the Events about it are heard."""
PLANNED: Final = frozenset({FINE_TUNE_JOB, DIFFUSION_DEPLOYMENT, DIFFUSION_MODEL})


@dataclass(frozen=True, slots=True)
class Links:
    """`wakes`: the resources to be planned anew when the object changes. `uses`: objects whose changes concern it."""

    wakes: tuple[Ref, ...] = ()
    uses: tuple[Ref, ...] = ()


def links_of(found: Manifest) -> Links:
    """Return the links of an object."""
    ref = ref_of(found)
    if ref.kind == FINE_TUNE_JOB:
        model = _model_of(found, ref.namespace)
        return Links(wakes=(ref, *model), uses=model)
    if ref.kind == DIFFUSION_MODEL:
        return Links(wakes=(ref, *_jobs_of(found, ref.namespace)))
    if ref.kind == DIFFUSION_DEPLOYMENT:
        return Links(wakes=(ref,), uses=tuple(_sources(found, ref.namespace)))
    if ref.kind == FINE_TUNE_REPORT:
        return Links(wakes=(Ref(FINE_TUNE_JOB, ref.namespace, ref.name),))
    labels = found["metadata"].get("labels") or {}
    owners = ((FINE_TUNE_JOB, labels.get(JOB_LABEL)), (DIFFUSION_DEPLOYMENT, labels.get(DEPLOYMENT_LABEL)))
    return Links(
        wakes=tuple(Ref(kind, ref.namespace, name) for kind, name in owners if name),
        uses=tuple(_clusters(found, ref)),
    )


def _model_of(job: Manifest, namespace: str) -> tuple[Ref, ...]:
    """Return the model that a job wants to become: the model's plan reads the jobs that use it."""
    name = (job["spec"].get("promotion") or {}).get("model")
    return (Ref(DIFFUSION_MODEL, namespace, name),) if name else ()


def _jobs_of(model: Manifest, namespace: str) -> Iterator[Ref]:
    """Yield the jobs whose runs a model tells of: as many as it remembers, however many want to become it."""
    status = model.get("status") or {}
    runs = [status.get("current"), *(status.get("history") or ()), *(status.get("considered") or ())]
    names = {run["job"]: None for run in runs if run and run.get("job")}
    return (Ref(FINE_TUNE_JOB, namespace, name) for name in names)


def _sources(deployment: Manifest, namespace: str) -> list[Ref]:
    found = []
    for adapter in deployment["spec"].get("adapters") or ():
        for field, kind in (("fromJob", FINE_TUNE_JOB), ("fromModel", DIFFUSION_MODEL)):
            if name := (adapter.get(field) or {}).get("name"):
                found.append(Ref(kind, namespace, name))
    return found


def _clusters(child: Manifest, ref: Ref) -> list[Ref]:
    status: Mapping[str, Any] = child.get("status") or {}
    names: list[Any] = []
    if ref.kind == RAY_JOB:
        names = [status.get("rayClusterName")]
    elif ref.kind == RAY_SERVICE:
        names = [
            (status.get(part) or {}).get("rayClusterName") for part in ("activeServiceStatus", "pendingServiceStatus")
        ]
    return [Ref(RAY_CLUSTER, ref.namespace, name) for name in names if name]
