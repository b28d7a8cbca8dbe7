"""The pod templates of Ray clusters. Every pod passes Pod Security `restricted`, whatever the spec says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from diptych_api.cluster import Pods, Toleration
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.canonical import with_canonical_quantities
from diptych_operator.manifests.environment import from_secret, merged, plain
from diptych_operator.manifests.patch import patched
from diptych_operator.manifests.spec_names import check_pods
from diptych_operator.manifests.volumes import HOME, Mount, extra_mounts, scratch_mounts

CONTAINER: Final = "ray"
"""Name of Ray's container in every pod, so that one patch of the spec fits all of them."""
USER: Final = 1000
POD_SECURITY: Final[Manifest] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final[Manifest] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
ENVIRONMENT: Final = {
    "HOME": HOME,
    "USER": "diptych",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True, slots=True)
class PodShape:
    """What one group of pods is made of, besides what the spec's `pods` say."""

    account: str
    labels: Mapping[str, str]
    cpus: str | int
    memory: str
    gpus: int = 0
    bursts: bool = False
    """Whether it may use more CPU than it asks for: a head starts programs, which takes seconds, and then waits."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    env: tuple[Manifest, ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    """What the container runs; of pods that run Ray KubeRay says it."""
    pre_stop: tuple[str, ...] = ()
    """Command that runs before a pod is asked to stop. Constant: nothing of the spec may stand in it."""


def pod_template(shape: PodShape, pods: Pods, defaults: Defaults) -> Manifest:
    """Return a pod template with the spec's own patch over it.

    Raises:
        SpecInvalid: for names that Kubernetes cannot take, and for a patch that goes too far.

    """
    check_pods(pods)
    mounts = (*scratch_mounts(shape.memory), *shape.mounts, *extra_mounts(pods))
    spec: Manifest = {
        "serviceAccountName": shape.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": pods.termination_grace_period_seconds,
        "securityContext": POD_SECURITY,
        "containers": [_container(shape, pods, defaults, mounts)],
        "volumes": [mount.volume for mount in mounts],
        **_placement(pods, defaults, gpus=shape.gpus),
    }
    metadata: Manifest = {"labels": dict(shape.labels)}
    if shape.annotations:
        metadata["annotations"] = dict(shape.annotations)
    whole: Manifest = with_canonical_quantities(
        patched({"metadata": metadata, "spec": spec}, pods.template, CONTAINER_SECURITY)
    )
    return whole


def _container(shape: PodShape, pods: Pods, defaults: Defaults, mounts: tuple[Mount, ...]) -> Manifest:
    fixed = [plain(name, value) for name, value in ENVIRONMENT.items()]
    secrets = [from_secret(variable.name, variable.value_from) for variable in pods.env]
    container: Manifest = {
        "name": CONTAINER,
        "image": pods.image or defaults.image,
        "imagePullPolicy": defaults.image_pull_policy,
        "env": merged([*fixed, *shape.env, *secrets]),
        "resources": _resources(shape, defaults),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [mount.place for mount in mounts],
    }
    if shape.command:
        container["command"] = list(shape.command)
    if shape.ports:
        container["ports"] = [{"name": name, "containerPort": port} for name, port in shape.ports.items()]
    if shape.pre_stop:
        container["lifecycle"] = {"preStop": {"exec": {"command": list(shape.pre_stop)}}}
    return container


def _resources(shape: PodShape, defaults: Defaults) -> Manifest:
    """Return requests and limits: of memory the same, so that neither a neighbour nor a peak gets a trainer killed."""
    amounts = {"cpu": str(shape.cpus), "memory": shape.memory}
    if shape.gpus:
        amounts[defaults.gpu_resource] = str(shape.gpus)
    limits = {name: amount for name, amount in amounts.items() if name != "cpu" or not shape.bursts}
    return {"requests": amounts, "limits": limits}


def _placement(pods: Pods, defaults: Defaults, *, gpus: int) -> Manifest:
    selector = dict(pods.node_selector)
    if gpus and pods.gpu_type:
        selector[defaults.gpu_node_label] = pods.gpu_type
    fields = {
        "nodeSelector": selector,
        "tolerations": [_toleration(toleration) for toleration in pods.tolerations],
        "imagePullSecrets": [{"name": name} for name in dict.fromkeys(pods.image_pull_secrets)],
        "priorityClassName": pods.priority_class_name,
    }
    return {name: value for name, value in fields.items() if value}


def _toleration(toleration: Toleration) -> Manifest:
    return toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
