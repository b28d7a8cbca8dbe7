"""What is seen of a resource and of everything around it, at one moment."""

from dataclasses import dataclass, field

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.diffusionmodel import DiffusionModel
from diptych_api.finetunejob import FineTuneJob
from diptych_api.finetunereport import FineTuneReport
from diptych_operator.child import Child, Pod, Trouble
from diptych_operator.told import Told


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A FineTuneJob and what belongs to it."""

    job: FineTuneJob
    """As stored; metadata.uid, namespace, generation and annotations are set."""
    ray_job: Child | None = None
    policy: Child | None = None
    publisher: Child | None = None
    """The Kubernetes Job that publishes."""
    model: DiffusionModel | None = None
    """The model that the job offers its run to, where there is one."""
    accounts: tuple[Child, ...] = ()
    """ServiceAccounts, Role and RoleBinding of the namespace's jobs."""
    report: FineTuneReport | None = None
    """Newest report of a run of this very job, by uid of its owner; None before the first."""
    pods: tuple[Pod, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    refused: str = ""
    """What the API server said when it last refused a child (quota, admission, rights); empty when it took all."""


@dataclass(frozen=True, slots=True)
class DeploymentSeen:
    """A DiffusionDeployment, its children, and the jobs and models that its adapters name."""

    deployment: DiffusionDeployment
    ray_service: Child | None = None
    policy: Child | None = None
    budget: Child | None = None
    ingress: Child | None = None
    route: Child | None = None
    accounts: tuple[Child, ...] = ()
    pods: tuple[Pod, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    jobs: dict[str, FineTuneJob] = field(default_factory=dict)
    """By name: those that `fromJob` names and that exist."""
    models: dict[str, DiffusionModel] = field(default_factory=dict)
    """By name: those that `fromModel` names and that exist."""
    refused: str = ""
    """What the API server said when it last refused a child (quota, admission, rights); empty when it took all."""
    told: Told | None = None
    """What its gateway says; None where gateways are not asked."""


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """A DiffusionModel and the jobs of its namespace that want to become it."""

    model: DiffusionModel
    jobs: tuple[FineTuneJob, ...] = ()
