"""The pods that serve: a head with the small deployments, and workers with one engine each."""

from collections.abc import Iterable
from typing import Any, Final

from diptych_api.diffusiondeployment import DiffusionDeployment, DiffusionDeploymentSpec
from diptych_api.names import POD_ACCOUNT
from diptych_api.serveconfig import ENGINE_RESOURCE
from diptych_api.servingconfig import ServedAdapter
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.metadata import labels_of
from diptych_operator.manifests.pods import CONTAINER_SECURITY, PodShape, pod_template
from diptych_operator.manifests.service_token import service_token
from diptych_operator.manifests.serving_inputs import GRPC_PORT, HTTP_PORT, claims, variables
from diptych_operator.manifests.volumes import Mount, claim_mounts

ENGINES: Final = "engines"
"""Name of the group of workers."""
RAY_PORTS: Final = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}
OLDER_PORTS: Final = {"serve-infer": 7861, "serve-ping": 7862}
"""Nothing listens there: KubeRay takes no port into a Service that is not among the head's."""
HEAD_CPUS: Final = "1"
"""What Ray gives away on the head: room for all the small deployments, whatever the pod has."""
MOST_ENGINES: Final = 1024
IDLE_S: Final = 300
"""A worker without an engine goes after so long. It must be there still when the first application has been built."""
SIDECAR: Final = {"cpu": "200m", "memory": "1Gi"}


def engines_at_start(spec: DiffusionDeploymentSpec) -> int:
    """Return the engine replicas that a new cluster begins with."""
    if spec.autoscaling is not None:
        return max(spec.autoscaling.min, 1)
    return 1 if spec.replicas is None else spec.replicas


def ray_cluster(
    deployment: DiffusionDeployment, adapters: Iterable[ServedAdapter], mark: dict[str, str], defaults: Defaults
) -> Manifest:
    """Return `rayClusterConfig`. `mark` is an annotation by which KubeRay sees that pods must change.

    KubeRay never passes a change of the replicas on to a cluster that runs: Ray's autoscaler makes as many workers as
    there are to be engines, also where their number is fixed.
    """
    spec, mounted = deployment.spec, list(adapters)
    return {
        "rayVersion": defaults.ray_version,
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": _autoscaler(defaults),
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": HEAD_CPUS, "num-gpus": "0"},
            "template": _head(deployment, mounted, mark, defaults),
        },
        "workerGroupSpecs": [
            {
                "groupName": ENGINES,
                "replicas": engines_at_start(spec),
                "minReplicas": 0,
                "maxReplicas": MOST_ENGINES,
                "rayStartParams": _worker_params(spec),
                "template": pod_template(_worker(deployment, mounted), spec.pods, defaults),
            }
        ],
    }


def head_ports(spec: DiffusionDeploymentSpec) -> dict[str, int]:
    """Return every port of the head's container. Those called serve or serve-… reach the Service."""
    grpc = {"serve-grpc": GRPC_PORT} if spec.endpoints.grpc.enabled else {}
    older = OLDER_PORTS if spec.endpoints.compatible.enabled else {}
    return RAY_PORTS | {"serve": HTTP_PORT} | grpc | older


def _head(
    deployment: DiffusionDeployment, adapters: list[ServedAdapter], mark: dict[str, str], defaults: Defaults
) -> Manifest:
    """Return the head's template. KubeRay makes an account for the autoscaler, whose token only its container sees."""
    shape = PodShape(
        account=POD_ACCOUNT,
        labels=labels_of(deployment),
        cpus=defaults.head_cpus,
        memory=defaults.head_memory,
        bursts=True,
        annotations=mark,
        env=variables(deployment.spec),
        mounts=_mounts(deployment.spec, adapters),
        ports=head_ports(deployment.spec),
    )
    template = pod_template(shape, deployment.spec.pods, defaults)
    pod = template["spec"]
    own = {name: value for name, value in pod.items() if name != "serviceAccountName"}
    return {**template, "spec": {**own, "volumes": [*pod["volumes"], service_token().volume]}}


def _worker(deployment: DiffusionDeployment, adapters: list[ServedAdapter]) -> PodShape:
    gets = deployment.spec.resources
    return PodShape(
        account=deployment.spec.pods.service_account_name or POD_ACCOUNT,
        labels=labels_of(deployment),
        cpus=gets.cpus,
        memory=gets.memory,
        gpus=gets.gpus,
        env=variables(deployment.spec),
        mounts=_mounts(deployment.spec, adapters),
    )


def _worker_params(spec: DiffusionDeploymentSpec) -> dict[str, str]:
    """Return how Ray starts: each worker has room for one engine. The form of `resources` is KubeRay's."""
    one = f'"{{\\"{ENGINE_RESOURCE}\\": 1}}"'
    return {"num-cpus": str(spec.resources.cpus), "num-gpus": str(spec.resources.gpus), "resources": one}


def _mounts(spec: DiffusionDeploymentSpec, adapters: list[ServedAdapter]) -> tuple[Mount, ...]:
    return claim_mounts(claims(spec, adapters))


def _autoscaler(defaults: Defaults) -> dict[str, Any]:
    """Return the sidecar that adds and takes away workers; without these settings it would not be restricted."""
    return {
        "version": "v2",
        "idleTimeoutSeconds": IDLE_S,
        "imagePullPolicy": defaults.image_pull_policy,
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": SIDECAR, "limits": SIDECAR},
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - a folder of the pod's own
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, service_token().place],  # noqa: S108
    }
