"""What whoever keeps the cluster does, while a job trains and a deployment serves: nothing of theirs restarts."""

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2
import pytest

from cluster.objects import Values
from e2e.deployments import deployment
from e2e.installing import HOME, install
from e2e.jobs import job, step, workspace
from e2e.pods import SLEEP, container, pod
from e2e.shell import Shell
from support.waiting import until

if TYPE_CHECKING:
    from cluster.node.access import Access

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
OPERATOR = "app.kubernetes.io/name=diptych,app.kubernetes.io/component=operator"
HEAD = "pods -l diptych.dev/job=long,ray.io/node-type=head"
RAY = "pods -l ray.io/is-ray-node=yes"
BARRED = (8265, 6379, 10001)
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@pytest.fixture(scope="module")
def busy(shared_shell: Shell) -> Iterator[Shell]:
    """Yield a shell beside a deployment that serves the base and a job that trains."""
    shell = shared_shell
    shell.apply(deployment("base", adapters=None))
    shell("kubectl wait diffusiondeployment/base --for=condition=Ready --timeout=8m", timeout_s=500)
    shell.apply(workspace(), job("long", training={"steps": 100_000}))
    until(lambda: step(shell, "long") > 0, 400, every_s=1)
    yield shell
    shell("kubectl delete finetunejob/long diffusiondeployment/base")


def test_the_dashboard_asks_for_the_token(busy: Shell) -> None:
    cluster = busy.told("finetunejob/long", ".status.rayClusterName")
    head = busy.told(HEAD, ".items[0].metadata.name")
    token = busy(f"kubectl get secret {cluster} -o jsonpath='{{.data.auth_token}}' | base64 -d")
    with busy.forwarded(f"pod/{head}", 8265) as (port,):
        jobs = f"http://127.0.0.1:{port}/api/jobs/"
        assert httpx2.get(jobs).status_code == 401
        wrong = base64.b64encode(b"another").decode()
        assert httpx2.get(jobs, headers={"Authorization": f"Bearer {wrong}"}).status_code in (401, 403)
        assert httpx2.get(jobs, headers={"Authorization": f"Bearer {token}"}).is_success


def test_the_log_of_the_heads_container_is_the_programs_own(busy: Shell) -> None:
    assert "Training" in busy("diptych logs long --pod")


def test_strangers_are_kept_out_of_a_ray_cluster(busy: Shell, node: "Access") -> None:
    busy.apply(_caller("stranger", node.images.busybox), _caller("friend", node.images.busybox, job="long"))
    busy("kubectl wait pod/stranger pod/friend --for=condition=Ready --timeout=120s", timeout_s=150)
    address = busy.told(HEAD, ".items[0].status.podIP")
    for port in BARRED:
        calling = f"-- nc -w 3 {address} {port} -e true"
        until(lambda calling=calling: busy.attempt(f"kubectl exec friend {calling}")[0] == 0, 60, every_s=1)  # type: ignore[misc]
        code, said = busy.attempt(f"kubectl exec stranger {calling}")
        assert code != 0, said
    busy("kubectl delete pod/stranger pod/friend")


def test_pod_security_has_nothing_against_any_pod(busy: Shell) -> None:
    namespace = busy("kubectl config view --minify -o jsonpath='{..namespace}'")
    for each in (HOME, namespace):
        said = busy(f"kubectl label namespace {each} {RESTRICTED} --overwrite --dry-run=server")
        assert "Warning" not in said


def test_helm_test_passes(busy: Shell) -> None:
    assert "Succeeded" in busy(f"helm test diptych -n {HOME}")


def test_an_upgrade_restarts_neither_jobs_nor_deployments(busy: Shell, node: "Access") -> None:
    before, reached = busy.restarts(RAY), step(busy, "long")
    busy(install(node, "upgrade", "--set ray.headCpus=200m"), timeout_s=330)
    until(lambda: step(busy, "long") > reached, 120, every_s=1)
    assert busy.restarts(RAY) == before
    assert busy.told("finetunejob/long", ".status.attempt") == "1"
    assert _is_ready(busy)


def test_a_second_replica_takes_over(busy: Shell, node: "Access") -> None:
    busy(install(node, "upgrade", "--set replicas=2"), timeout_s=330)
    until(lambda: _writer(busy) in busy.told(f"pods -n {HOME}", ".items[*].metadata.name").split(), 60, every_s=1)
    killed = _writer(busy)
    busy(f"kubectl delete pod {killed} -n {HOME} --force --grace-period=0")
    until(lambda: _writer(busy) not in ("", killed), 60, every_s=1)
    reached = step(busy, "long")
    until(lambda: step(busy, "long") > reached, 60, every_s=1)


def test_uninstalled_and_installed_again_it_takes_up_what_was_there(busy: Shell, node: "Access") -> None:
    before = busy.restarts(RAY)
    busy(f"helm uninstall diptych -n {HOME} --wait", timeout_s=180)
    assert len(busy("kubectl get finetunejob,diffusiondeployment,pvc -o name").split()) == 3
    reached = step(busy, "long")
    busy(install(node), timeout_s=330)
    until(lambda: step(busy, "long") > reached, 120, every_s=1)
    assert busy.restarts(RAY) == before
    assert busy.told("finetunejob/long", ".status.attempt") == "1"
    until(lambda: _is_ready(busy), 60, every_s=1)


def _writer(shell: Shell) -> str:
    """Return the operator's pod that holds the Lease."""
    return shell.told(f"lease/diptych-operator -n {HOME}", ".spec.holderIdentity")


def _is_ready(shell: Shell) -> bool:
    return shell.told("diffusiondeployment/base", '.status.conditions[?(@.type=="Ready")].status') == "True"


def _caller(name: str, image: str, job: str = "") -> Values:
    """Return a pod that can call others; with a job's label it is one of the job's pods for NetworkPolicies."""
    labels = {"diptych.dev/job": job} if job else {}
    return pod(name, container("caller", image, SLEEP), labels=labels, terminationGracePeriodSeconds=0)
