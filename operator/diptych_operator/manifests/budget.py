"""The PodDisruptionBudget of a deployment: a drain takes one engine at a time."""

from diptych_api.diffusiondeployment import DiffusionDeployment, DiffusionDeploymentSpec
from diptych_api.names import DEPLOYMENT_LABEL, disruption_budget_name
from diptych_operator.kinds import DISRUPTION_BUDGET, Manifest
from diptych_operator.manifests.metadata import head
from diptych_operator.manifests.serving_pods import ENGINES


def disruption_budget(deployment: DiffusionDeployment) -> Manifest:
    """Return the budget of the engines' pods.

    Kubernetes can count down from all (maxUnavailable) only for owners with a scale subresource, which a RayCluster
    has not; so it is a number of pods that stay, one below those that are always there. A single engine may be drained.
    """
    labels = {DEPLOYMENT_LABEL: deployment.metadata.name, "ray.io/group": ENGINES}
    return {
        **head(DISRUPTION_BUDGET, deployment, disruption_budget_name(deployment.metadata.name)),
        "spec": {"minAvailable": max(_always(deployment.spec) - 1, 0), "selector": {"matchLabels": labels}},
    }


def _always(spec: DiffusionDeploymentSpec) -> int:
    if spec.autoscaling is not None:
        return spec.autoscaling.min
    return 1 if spec.replicas is None else spec.replicas
