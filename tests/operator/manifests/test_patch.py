"""The spec's own patch over pods: what it may add, and what it may not take away."""

from typing import Any

import pytest

from diptych_api.cluster import Pods
from diptych_api.errors import SpecInvalid
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.pods import CONTAINER_SECURITY, PodShape, pod_template

SHAPE = PodShape(account="diptych-pod", labels={"diptych.dev/job": "noto"}, cpus=2, memory="8Gi")


def patched(**patch: Any) -> Manifest:
    return pod_template(SHAPE, Pods(template=patch), Defaults(image="image:1"))


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "ray", **fields}]}


PROPAGATED = {"name": "x", "mountPath": "/data", "mountPropagation": "Bidirectional"}
TOKEN = {"name": "api-token", "mountPath": "/token"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"kind": "Pod"}, "kind"),
    ({"metadata": {"labels": {"diptych.dev/job": "other"}}}, "diptych.dev/job is not yours to set"),
    ({"metadata": {"annotations": {"ray.io/overwrite-container-cmd": "true"}}}, "ray.io/overwrite-container-cmd"),
    ({"metadata": {"labels": {"team": "two words"}}}, "'team' is no key of labels, or its value is none"),
    ({"metadata": {"finalizers": ["x"]}}, "metadata.finalizers: may not be patched"),
    ({"spec": {"hostNetwork": True}}, "spec.hostNetwork: may not be patched"),
    ({"spec": {"securityContext": {"runAsUser": 0}}}, "spec.securityContext"),
    ({"spec": {"serviceAccountName": "admin"}}, "spec.serviceAccountName"),
    ({"spec": {"automountServiceAccountToken": True}}, "spec.automountServiceAccountToken"),
    ({"spec": {"initContainers": []}}, "spec.initContainers"),
    ({"spec": {"containers": "no"}}, "spec.containers: expected a list"),
    ({"spec": {"containers": [{"image": "x"}]}}, "spec.containers[0]: name is missing"),
    ({"spec": container(command=["sh"])}, "spec.containers[0].command: may not be patched"),
    ({"spec": container(securityContext={"privileged": True})}, "spec.containers[0].securityContext"),
    ({"spec": container(lifecycle={})}, "spec.containers[0].lifecycle"),
    ({"spec": container(env=[{"name": "LD_PRELOAD", "value": "x"}])}, "'LD_PRELOAD' is no name that may be set"),
    ({"spec": container(env=[{"name": "RAY_AUTH_TOKEN", "value": "x"}])}, "'RAY_AUTH_TOKEN'"),
    ({"spec": container(env=[{"name": "HOME", "value": "/"}])}, "'HOME'"),
    ({"spec": container(volumeMounts=[{"name": "x", "mountPath": "/data/../etc"}])}, "'/data/../etc'"),
    ({"spec": container(volumeMounts=[{"name": "x", "mountPath": "/usr/bin"}])}, "'/usr/bin'"),
    (
        {"spec": {"containers": [{"name": "side", "volumeMounts": [TOKEN]}]}},
        "a token that is not for containers of yours",
    ),
    ({"spec": {"volumes": [{"name": "api-token", "emptyDir": {}}]}}, "api-token is a volume of the pod itself"),
    ({"spec": container(volumeMounts=[PROPAGATED])}, "may not reach the node"),
    ({"spec": {"containers": [{"name": "side", "ports": [{"name": "a", "hostPort": 80}]}]}}, "hostPort"),
    ({"spec": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}}, "spec.volumes[0].hostPath"),
    ({"spec": {"volumes": [{"name": "x", "projected": {}}]}}, "spec.volumes[0].projected"),
    ({"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}, "tmp is a volume of the pod itself"),
    ({"spec": {"tolerations": None}}, "spec.tolerations: null takes away"),
    ({"spec": {"containers": [{"name": "ray", "$patch": "delete"}]}}, "the directive $patch is not supported"),
]


@pytest.mark.parametrize(("patch", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_patch_that_goes_too_far_is_refused_by_name(patch: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecInvalid) as refused:
        patched(**patch)
    assert refused.value.message.startswith("pods.template.")
    assert words in refused.value.message


def test_a_patch_places_pods_and_marks_them() -> None:
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    keep = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    template = patched(
        metadata={"labels": {"team": "art"}, "annotations": keep},
        spec={"tolerations": [{"key": "gpu"}], "topologySpreadConstraints": [spread], "runtimeClassName": "nvidia"},
    )
    assert template["metadata"]["annotations"] == keep
    assert template["metadata"]["labels"] == {"diptych.dev/job": "noto", "team": "art"}
    assert (template["spec"]["tolerations"], template["spec"]["runtimeClassName"]) == ([{"key": "gpu"}], "nvidia")


def test_a_patch_adds_to_rays_container_what_is_not_there() -> None:
    template = patched(
        spec=container(
            env=[{"name": "NCCL_DEBUG", "value": "INFO"}],
            resources={"limits": {"ephemeral-storage": "20Gi"}},
            volumeMounts=[{"name": "data", "mountPath": "/data"}],
        )
        | {"volumes": [{"name": "data", "emptyDir": {}}]}
    )
    ray = template["spec"]["containers"][0]
    assert ray["env"][-1] == {"name": "NCCL_DEBUG", "value": "INFO"}
    assert ray["resources"]["limits"] == {"cpu": "2", "memory": "8Gi", "ephemeral-storage": "20Gi"}
    assert template["spec"]["volumes"][-1]["name"] == ray["volumeMounts"][-1]["name"] == "data"


def test_a_sidecar_is_confined_as_ray_is_and_comes_after_it() -> None:
    template = patched(spec={"containers": [{"name": "proxy", "image": "proxy:1", "args": ["--x"]}]})
    ray, proxy = template["spec"]["containers"]
    assert ray["name"] == "ray"
    assert proxy["securityContext"] == CONTAINER_SECURITY
