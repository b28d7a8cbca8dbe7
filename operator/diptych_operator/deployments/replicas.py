"""Engine replicas as pods: how many there are, how many answer, and how others select them."""

from collections.abc import Iterable

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.names import DEPLOYMENT_LABEL
from diptych_operator.child import Pod
from diptych_operator.manifests.serving_pods import ENGINES

GROUP = "ray.io/group"
CLUSTER = "ray.io/cluster"
OVER = frozenset({"Failed", "Succeeded"})


def selector(deployment: DiffusionDeployment) -> str:
    """Return the label selector of the engines' pods, as HPAs read it."""
    return f"{DEPLOYMENT_LABEL}={deployment.metadata.name},{GROUP}={ENGINES}"


def engine_pods(pods: Iterable[Pod], cluster: str) -> list[Pod]:
    """Return the pods of engines of one RayCluster that are there to stay; of all while no cluster serves."""
    return [
        pod
        for pod in pods
        if pod.labels.get(GROUP) == ENGINES
        and not pod.deleting
        and pod.status.get("phase") not in OVER
        and cluster in ("", pod.labels.get(CLUSTER))
    ]


def ready(pods: Iterable[Pod]) -> int:
    """Return how many pods are ready: Ray Serve's proxy runs there, so an engine does."""
    return sum(_is_ready(pod) for pod in pods)


def wanted(deployment: DiffusionDeployment, there: int) -> int:
    """Return how many there should be; those that are there where their number follows the load."""
    spec = deployment.spec
    if spec.autoscaling is not None:
        return max(spec.autoscaling.min, there)
    return 1 if spec.replicas is None else spec.replicas


def _is_ready(pod: Pod) -> bool:
    conditions = pod.status.get("conditions") or ()
    return any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)
