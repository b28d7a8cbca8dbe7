"""Names that several rooms must agree on: labels, annotations, children of a resource."""

from typing import Final

from diptych_api.fields import API_GROUP

CACHE_VARIABLE: Final = "DIPTYCH_CACHE"
"""The environment variable that names the folder of what was downloaded."""
FIELD_MANAGER: Final = "diptych-operator"
REPORT_MANAGER: Final = "diptych-report"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
COMPONENT: Final = "app.kubernetes.io/component"
PRODUCT: Final = "diptych"
OWNER_UID: Final = f"{API_GROUP}/owner-uid"
JOB_LABEL: Final = f"{API_GROUP}/job"
DEPLOYMENT_LABEL: Final = f"{API_GROUP}/deployment"
MODEL_LABEL: Final = f"{API_GROUP}/model"
JOB_ANNOTATION: Final = f"{API_GROUP}/resolved-job"
CANCEL_ANNOTATION: Final = f"{API_GROUP}/cancel"
"""On a FineTuneJob: "true" ends it for good."""
RETRY_ANNOTATION: Final = f"{API_GROUP}/retry"
"""On a FineTuneJob that failed: the number of its last attempt asks for one more."""
HASH_ANNOTATION: Final = f"{API_GROUP}/config-hash"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
QUEUE_PRIORITY_LABEL: Final = "kueue.x-k8s.io/priority-class"
REPORTER_ACCOUNT: Final = "diptych-reporter"
POD_ACCOUNT: Final = "diptych-pod"
WORKSPACE: Final = "diptych-workspace"
"""The claim of a namespace at which relative paths of a job start, as on one machine at the folder it is run from."""


def ray_job_name(job: str) -> str:
    """Return the name of a job's RayJob. KubeRay takes at most 47 characters; ours have at most 40."""
    return job


def ray_service_name(deployment: str) -> str:
    """Return the name of a deployment's RayService: at most 47 characters, as KubeRay takes them.

    It is another than a RayJob's: KubeRay gives both a Service `NAME-head-svc`, and those of one name would fight.
    """
    return f"{deployment}-serve"


def report_name(job: str) -> str:
    """Return the name of the FineTuneReport that a job writes."""
    return job


def publisher_name(job: str) -> str:
    """Return the name of the Kubernetes Job that publishes what was promoted."""
    return f"{job}-publish"


def job_policy_name(job: str) -> str:
    """Return the name of a job's NetworkPolicy."""
    return f"{job}-finetune"


def deployment_policy_name(deployment: str) -> str:
    """Return the name of a deployment's NetworkPolicy."""
    return f"{deployment}-serving"


def service_name(deployment: str) -> str:
    """Return the name of the Service with a deployment's own and compatible ports."""
    return f"{deployment}-images"


def disruption_budget_name(deployment: str) -> str:
    """Return the name of a deployment's PodDisruptionBudget."""
    return f"{deployment}-serving"


def labels(owner_uid: str, *, job: str | None = None, deployment: str | None = None) -> dict[str, str]:
    """Return the labels of a child, by which the operator selects what it watches."""
    named = {JOB_LABEL: job, DEPLOYMENT_LABEL: deployment}
    component = "training" if job else "serving"
    fixed = {MANAGED_BY: PRODUCT, COMPONENT: component, OWNER_UID: owner_uid}
    return fixed | {label: name for label, name in named.items() if name}
