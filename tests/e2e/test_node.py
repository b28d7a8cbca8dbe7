"""The cluster itself: what Diptych's pods count on holds there, so that a failure of theirs is theirs."""

import json
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import yaml

from cluster.manifests import ray_job
from cluster.objects import Values, conditions, reference
from e2e.pods import container, pod
from support.waiting import until

if TYPE_CHECKING:
    from cluster.node.access import Access

pytestmark = pytest.mark.e2e
SPACE = "e2e-node"
SERVE = "echo hello > /store/index.html && exec httpd -f -p 8080 -h /store"


@pytest.fixture(scope="module")
def space(node: "Access") -> Iterator[str]:
    """Yield a namespace in which all pods of these tests have been started at once."""
    node.kubectl("create", "namespace", SPACE)
    node.kubectl("label", "namespace", SPACE, "pod-security.kubernetes.io/enforce=restricted")
    image = node.images.busybox
    found = [
        _pod("open", image, SERVE),
        _pod("guarded", image, SERVE),
        _service("open"),
        _service("guarded"),
        _only_friends_reach("guarded"),
        _pod("friend", image, "exec sleep 3600", role="friend"),
        _pod("stranger", image, "exec sleep 3600", role="stranger"),
        _pod("hog", image, "exec tail /dev/zero"),
        _claim("anything"),
        _pod("writer", image, "echo kept > /store/word", claim="anything"),
    ]
    node.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(found))
    yield SPACE
    node.kubectl("delete", "namespace", SPACE, "--wait=false")


def test_all_nodes_are_ready(node: "Access") -> None:
    nodes = json.loads(node.kubectl("get", "nodes", "--output=json"))["items"]
    assert nodes
    assert {conditions(each)["Ready"] for each in nodes} == {"True"}


def test_pods_find_services_by_name(node: "Access", space: str) -> None:
    _wait(node, space, "friend", "open")
    until(lambda: _asks(node, space, "friend", "open"))


def test_a_claim_of_any_name_is_bound_and_keeps_what_is_written(node: "Access", space: str) -> None:
    _wait(node, space, "writer", until="jsonpath={.status.phase}=Succeeded")
    reader = _pod("reader", node.images.busybox, "cat /store/word", claim="anything")
    node.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(reader))
    _wait(node, space, "reader", until="jsonpath={.status.phase}=Succeeded")
    assert node.kubectl("logs", "--namespace", space, "reader") == "kept\n"


def test_a_network_policy_keeps_strangers_out(node: "Access", space: str) -> None:
    _wait(node, space, "friend", "stranger", "open", "guarded")
    until(lambda: not _asks(node, space, "stranger", "guarded"))
    assert _asks(node, space, "stranger", "open")
    assert _asks(node, space, "friend", "guarded")


def test_a_container_above_its_memory_is_killed(node: "Access", space: str) -> None:
    _wait(node, space, "hog", until="jsonpath={.status.phase}=Failed")
    [state] = json.loads(node.kubectl("get", "pod", "hog", "--namespace", space, "--output=json"))["status"][
        "containerStatuses"
    ]
    ended = state["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


def test_kuberay_makes_pods_of_a_ray_job(node: "Access", space: str) -> None:
    node.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(ray_job(space)))
    heads = ("get", "pods", "--namespace", space, "--selector=ray.io/node-type=head", "--output=name")
    until(lambda: node.kubectl(*heads).startswith("pod/noto-"))


def _asks(node: "Access", space: str, who: str, whom: str) -> bool:
    """Return whether a pod gets an answer from a Service."""
    asking = ("timeout", "5", "wget", "-q", "-O", "-", f"http://{whom}.{space}.svc.cluster.local:8080")
    try:
        said = node.kubectl("exec", "--namespace", space, who, "--", *asking)
    except subprocess.CalledProcessError:
        return False
    return said == "hello\n"


def _wait(node: "Access", space: str, *pods: str, until: str = "condition=Ready") -> None:
    names = [f"pod/{name}" for name in pods]
    node.kubectl("wait", "--namespace", space, f"--for={until}", "--timeout=120s", *names)


def _pod(name: str, image: str, script: str, role: str = "", claim: str = "") -> Values:
    store = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    mounts = [{"name": "store", "mountPath": "/store"}]
    made = pod(
        name,
        container("main", image, ["sh", "-c", script], ("16Mi", "32Mi"), volumeMounts=mounts),
        labels={"app": name, "role": role},
        security={"fsGroup": 1000},
        restartPolicy="Never",
        terminationGracePeriodSeconds=0,
        volumes=[{"name": "store"} | store],
    )
    return made | {"metadata": made["metadata"] | {"namespace": SPACE}}


def _service(name: str) -> Values:
    return reference("v1", "Service", name, SPACE) | {"spec": {"selector": {"app": name}, "ports": [{"port": 8080}]}}


def _only_friends_reach(name: str) -> Values:
    allowed = [{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}]
    policy = reference("networking.k8s.io/v1", "NetworkPolicy", name, SPACE)
    return policy | {
        "spec": {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress"], "ingress": allowed}
    }


def _claim(name: str) -> Values:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
    return reference("v1", "PersistentVolumeClaim", name, SPACE) | {"spec": spec}
