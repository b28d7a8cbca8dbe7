"""The real KubeRay makes pods of a job's RayJob, in a namespace that holds pods to the restricted standard."""

import json
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.objects import Values, reference
from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import JOB_ANNOTATION
from diptych_api.wire import from_wire
from diptych_operator.defaults import Defaults
from diptych_operator.manifests.accounts import accounts
from diptych_operator.manifests.job_policy import job_policy
from diptych_operator.manifests.rayjob import ray_job
from diptych_operator.sealing import drifted, sealed
from support.job_specs import EVIL
from support.waiting import until

pytestmark = pytest.mark.integration
SECRET = {"name": "keys", "key": "one"}
PODS: Values = {
    "gpuType": "NVIDIA-L4",
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "env": [{"name": "AWS_ACCESS_KEY_ID", "valueFrom": SECRET}],
    "volumes": [{"claim": {"claimName": "more", "path": "some/folder"}, "mountPath": "/data"}],
    "terminationGracePeriodSeconds": 300,
    "template": {"spec": {"containers": [{"name": "proxy", "image": "proxy:1", "args": ["--port", "1"]}]}},
}
SPEC: Values = {
    "preset": "lora-r4",
    "base": {"pvc": {"claimName": "bases", "path": "sd15"}},
    "dataset": {"source": {"pvc": {"claimName": "pictures"}}, "captioning": {"apiKey": SECRET}},
    "output": {"pvc": {"claimName": "store"}},
    "evaluation": {"prompts": [EVIL, "a \U0001f34e"]},
    "resources": {"workers": 2, "gpusPerWorker": 1, "pods": PODS},
    "activeDeadlineSeconds": 3600,
    "preRunningDeadlineSeconds": 600,
}


def applied(plane: ControlPlane, namespace: str) -> Values:
    """Make a job and what the operator makes for it; return the RayJob."""
    head = {"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneJob"}
    made = plane.api.create({**head, "metadata": {"name": "noto", "namespace": namespace}, "spec": SPEC})
    job = from_wire(FineTuneJob, made)
    for child in (*accounts(namespace), job_policy(job, Defaults(image="image:1"))):
        plane.api.apply(sealed(child))
    return plane.api.apply(sealed(ray_job(job, 1, Defaults(image="image:1"), 3600)))


def pods_of(plane: ControlPlane, namespace: str) -> dict[str, list[Values]]:
    found = plane.api.listed("v1", "Pod", namespace, labels="diptych.dev/job=noto")
    by_type: dict[str, list[Values]] = {"head": [], "worker": []}
    for pod in found:
        by_type[pod["metadata"]["labels"]["ray.io/node-type"]].append(pod)
    return by_type


def test_a_job_with_everything_gets_its_pods(control_plane: ControlPlane, kuberay_namespace: str) -> None:
    applied(control_plane, kuberay_namespace)
    until(lambda: {kind: len(pods) for kind, pods in pods_of(control_plane, kuberay_namespace).items()} == WANTED)
    ray_job_now = control_plane.api.read(reference("ray.io/v1", "RayJob", "noto", kuberay_namespace))
    assert ray_job_now["status"]["jobDeploymentStatus"] == "Initializing"
    assert not drifted(ray_job_now)
    pods = pods_of(control_plane, kuberay_namespace)
    (head,) = pods["head"]
    told = json.loads(head["metadata"]["annotations"][JOB_ANNOTATION])
    assert told["spec"]["evaluation"]["prompts"] == SPEC["evaluation"]["prompts"]
    assert head["spec"]["serviceAccountName"] == "diptych-reporter"
    for pod in (head, *pods["worker"]):
        check_secrets_and_commands(pod)
    for pod in pods["worker"]:
        assert pod["spec"]["serviceAccountName"] == "diptych-pod"
        assert "serviceAccountToken" not in json.dumps(pod["spec"]["volumes"])
        assert [container["name"] for container in pod["spec"]["initContainers"]] == ["wait-gcs-ready"]


WANTED = {"head": 1, "worker": 2}


def check_secrets_and_commands(pod: Values) -> None:
    """Check that Ray asks for its token, that no text of people is in a command, and that memory is not shared."""
    ray, proxy = pod["spec"]["containers"]
    env: dict[str, Any] = {variable["name"]: variable for variable in ray["env"]}
    assert env["RAY_AUTH_MODE"]["value"] == "token"
    assert env["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["key"] == "auth_token"
    assert env["OPENAI_API_KEY"]["valueFrom"]["secretKeyRef"] == SECRET
    assert "pwned" not in json.dumps([ray["command"], ray["args"], ray["lifecycle"], ray["env"]])
    assert ray["args"][0].startswith("ulimit -n 65536; ray start ")
    assert proxy["args"] == ["--port", "1"]
    places = [mount["mountPath"] for mount in ray["volumeMounts"]]
    assert places.count("/dev/shm") == 1  # noqa: S108 - ours, so that KubeRay adds none
