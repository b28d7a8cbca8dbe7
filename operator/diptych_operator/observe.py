"""From the store to what one plan needs: the resource, its children and what is around it, read as our models."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from diptych_api import names
from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.diffusionmodel import DiffusionModel
from diptych_api.finetunejob import FineTuneJob
from diptych_api.finetunereport import FineTuneReport
from diptych_api.resource import Resource
from diptych_api.wire import from_json
from diptych_operator import kinds
from diptych_operator.child import Child, Pod, Trouble
from diptych_operator.kinds import Kind, Ref
from diptych_operator.observed import DeploymentSeen, JobSeen, ModelSeen
from diptych_operator.store import Store
from diptych_operator.told import Told

Seen = JobSeen | DeploymentSeen | ModelSeen
ResourceT = TypeVar("ResourceT", bound=Resource)
ACCOUNTS: Final = (
    (kinds.SERVICE_ACCOUNT, names.REPORTER_ACCOUNT),
    (kinds.SERVICE_ACCOUNT, names.POD_ACCOUNT),
    (kinds.ROLE, names.REPORTER_ACCOUNT),
    (kinds.ROLE_BINDING, names.REPORTER_ACCOUNT),
)


def observe(store: Store, ref: Ref, refused: str = "", told: Told | None = None) -> Seen | None:
    """Return what is seen of a resource; None when it is not there or on its way out.

    `refused` is what the API server said to the last try of a child, `told` what the gateway of a deployment says.

    Raises:
        pydantic.ValidationError: when what is stored is no resource of this version.

    """
    found = store.get(ref)
    if found is None or "deletionTimestamp" in found["metadata"]:
        return None
    return OBSERVERS[ref.kind](_View(store, ref, refused, told))


class _View:
    """The store, seen from one resource."""

    def __init__(self, store: Store, ref: Ref, refused: str, told: Told | None) -> None:
        self.store, self.ref, self.refused, self.told = store, ref, refused, told

    def child(self, kind: Kind, name: str) -> Child | None:
        found = self.store.get(Ref(kind, self.ref.namespace, name))
        return None if found is None else Child.of(found)

    def accounts(self) -> tuple[Child, ...]:
        found = (self.child(kind, name) for kind, name in ACCOUNTS)
        return tuple(child for child in found if child is not None)

    def pods(self, uid: str | None) -> tuple[Pod, ...]:
        """Return the pods of this very resource: those of a deleted one of the same name may still be there."""
        pods = (Pod.of(pod) for pod in self.store.pods_of(self.ref))
        return tuple(pod for pod in pods if pod.labels.get(names.OWNER_UID) == uid)

    def troubles(self, *abouts: str) -> tuple[Trouble, ...]:
        return tuple(t for name in abouts if name for t in self.store.troubles_of(self.ref.namespace, name))

    def itself(self, model: type[ResourceT]) -> ResourceT:
        return from_json(model, self.store.text(self.ref) or b"")

    def other(self, model: type[ResourceT], kind: Kind, name: str) -> ResourceT | None:
        text = self.store.text(Ref(kind, self.ref.namespace, name))
        return None if text is None else from_json(model, text)

    def others(self, model: type[ResourceT], kind: Kind, wanted: set[str]) -> dict[str, ResourceT]:
        found = ((name, self.other(model, kind, name)) for name in sorted(wanted))
        return {name: value for name, value in found if value is not None}


def _job(view: _View) -> JobSeen:
    job = view.itself(FineTuneJob)
    name, pods = job.metadata.name, view.pods(job.metadata.uid)
    ray_job = view.child(kinds.RAY_JOB, names.ray_job_name(name))
    cluster = str(ray_job.status.get("rayClusterName", "")) if ray_job else ""
    return JobSeen(
        job=job,
        ray_job=ray_job,
        policy=view.child(kinds.NETWORK_POLICY, names.job_policy_name(name)),
        publisher=view.child(kinds.JOB, names.publisher_name(name)) if job.spec.publish else None,
        model=_judge(view, job),
        accounts=view.accounts(),
        report=_report(view, job),
        pods=pods,
        troubles=view.troubles(
            names.ray_job_name(name), cluster, names.publisher_name(name), *(pod.name for pod in pods)
        ),
        refused=view.refused,
    )


def _judge(view: _View, job: FineTuneJob) -> DiffusionModel | None:
    """Return the model that decides about the job's run."""
    if job.spec.promotion is None:
        return None
    try:
        return view.other(DiffusionModel, kinds.DIFFUSION_MODEL, job.spec.promotion.model)
    except ValidationError:
        return None  # of another version: its own status tells so, and the job goes on


def _report(view: _View, job: FineTuneJob) -> FineTuneReport | None:
    """Return the report of this very job: one of a deleted job of the same name may still be there."""
    name = names.report_name(job.metadata.name)
    found = view.store.get(Ref(kinds.FINE_TUNE_REPORT, view.ref.namespace, name))
    owners = (found or {}).get("metadata", {}).get("ownerReferences") or ()
    if not any(owner.get("uid") == job.metadata.uid for owner in owners):
        return None
    return view.other(FineTuneReport, kinds.FINE_TUNE_REPORT, name)


def _deployment(view: _View) -> DeploymentSeen:
    deployment = view.itself(DiffusionDeployment)
    name, adapters = deployment.metadata.name, deployment.spec.adapters
    pods = view.pods(deployment.metadata.uid)
    ray_service = view.child(kinds.RAY_SERVICE, names.ray_service_name(name))
    return DeploymentSeen(
        deployment=deployment,
        ray_service=ray_service,
        policy=view.child(kinds.NETWORK_POLICY, names.deployment_policy_name(name)),
        budget=view.child(kinds.DISRUPTION_BUDGET, names.disruption_budget_name(name)),
        ingress=view.child(kinds.INGRESS, names.service_name(name)),
        route=view.child(kinds.HTTP_ROUTE, names.service_name(name)),
        accounts=view.accounts(),
        pods=pods,
        troubles=view.troubles(names.ray_service_name(name), *_clusters(ray_service), *(pod.name for pod in pods)),
        jobs=view.others(FineTuneJob, kinds.FINE_TUNE_JOB, {a.from_job.name for a in adapters if a.from_job}),
        models=view.others(
            DiffusionModel, kinds.DIFFUSION_MODEL, {a.from_model.name for a in adapters if a.from_model}
        ),
        refused=view.refused,
        told=view.told,
    )


def _clusters(ray_service: Child | None) -> list[str]:
    status: dict[str, Any] = dict(ray_service.status) if ray_service else {}
    parts = (status.get("activeServiceStatus") or {}, status.get("pendingServiceStatus") or {})
    return [str(part.get("rayClusterName", "")) for part in parts]


def _model(view: _View) -> ModelSeen:
    users = {ref.name for ref in view.store.users_of(view.ref) if ref.kind == kinds.FINE_TUNE_JOB}
    jobs = view.others(FineTuneJob, kinds.FINE_TUNE_JOB, users)
    return ModelSeen(model=view.itself(DiffusionModel), jobs=tuple(jobs.values()))


OBSERVERS: Final[dict[Kind, Callable[[_View], Seen]]] = {
    kinds.FINE_TUNE_JOB: _job,
    kinds.DIFFUSION_DEPLOYMENT: _deployment,
    kinds.DIFFUSION_MODEL: _model,
}
