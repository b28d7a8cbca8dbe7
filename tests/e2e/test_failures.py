"""Failures by name: what ended a job, or keeps it from running, shows with a hint within ten seconds of the fact."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from e2e.hub import hub_that_refuses
from e2e.jobs import job, workspace
from e2e.shell import Shell

if TYPE_CHECKING:
    from cluster.node.access import Access

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SOON_S = 10
WHY = '.status.conditions[?(@.type=="Provisioned")]'
TAKEN = ".items[*].status.containerStatuses[0].state.waiting.reason"
NO_GPUS = '.items[*].status.conditions[?(@.type=="PodScheduled")].reason'
NOWHERE = "localhost/diptych/nowhere:1"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FROM_HUB = {
    "builtin": None,
    "huggingFace": {"repo": "owner/name", "revision": COMMIT, "token": {"name": "hub", "key": "token"}},
}


@pytest.fixture(scope="module")
def ready(shared_shell: Shell) -> Shell:
    """Return a shell to a namespace with the volume of the examples."""
    shared_shell.apply(workspace())
    return shared_shell


@pytest.fixture(scope="module")
def gpus(ready: Shell) -> Iterator[int]:
    """Yield how many GPUs a node has that has none: the scheduler believes what stands in its status."""
    shell, count = ready, 2
    name = shell("kubectl get nodes -o jsonpath='{.items[0].metadata.name}'")
    patch = f"kubectl patch node {name} --subresource=status --type=json -p"
    path = "/status/capacity/nvidia.com~1gpu"
    shell(f"""{patch} '[{{"op": "add", "path": "{path}", "value": "{count}"}}]'""")
    shell.wait(f"node/{name}", ".status.allocatable.nvidia\\.com/gpu", str(count), 60)
    yield count
    shell(f"""{patch} '[{{"op": "remove", "path": "{path}"}}]'""")


def test_an_image_that_is_not_there(ready: Shell) -> None:
    shell = ready
    shell.apply(job("image", resources={"pods": {"image": NOWHERE}}))
    shell.wait_any(pods_of("image", "head"), TAKEN, ("ErrImagePull", "ImagePullBackOff"))
    shell.wait("finetunejob/image", f"{WHY}.reason", "ImagePull", SOON_S)
    told = shell(f"kubectl get finetunejob image -o jsonpath='{{{WHY}.message}}'")
    assert NOWHERE in told
    assert "pods.image" in told
    shell("kubectl delete finetunejob/image")


def test_more_gpus_than_there_are(ready: Shell, gpus: int) -> None:
    shell = ready
    shell.apply(job("gpus", resources={"gpusPerWorker": gpus + 1}))
    shell.wait_any(pods_of("gpus", "worker"), NO_GPUS, ("Unschedulable",))
    shell.wait("finetunejob/gpus", f"{WHY}.reason", "Unschedulable", SOON_S)
    told = shell(f"kubectl get finetunejob gpus -o jsonpath='{{{WHY}.message}}'")
    assert "Insufficient nvidia.com/gpu" in told
    assert f"{gpus + 1} nvidia.com/gpu" in told
    shell("kubectl delete finetunejob/gpus")


def test_as_many_gpus_as_there_are_are_given_to_the_worker(ready: Shell, gpus: int) -> None:
    shell = ready
    shell.apply(job("gpus-enough", resources={"gpusPerWorker": gpus}))
    pods = pods_of("gpus-enough", "worker")
    shell.wait_any(pods, '.items[*].status.conditions[?(@.type=="PodScheduled")].status', ("True",))
    assert shell.told(pods, ".items[*].spec.containers[*].resources.limits.nvidia\\.com/gpu") == str(gpus)
    shell("kubectl delete finetunejob/gpus-enough")


def test_a_data_set_that_is_not_there(ready: Shell) -> None:
    shell = ready
    shell.apply(job("dataset", dataset={"source": {"uri": "examples/nowhere"}}))
    shell.wait("finetunereport/dataset", ".spec.failure.reason", "DatasetInvalid")
    told = failed(shell, "dataset", "DatasetInvalid")
    assert "examples/nowhere" in told


def test_a_hub_that_refuses_the_token(ready: Shell, node: "Access") -> None:
    shell = ready
    shell.apply(*hub_that_refuses(node.images.operator))
    shell("kubectl wait pod/hub --for=condition=Ready --timeout=60s")
    endpoint = {"name": "HF_ENDPOINT", "valueFrom": {"name": "hub", "key": "HF_ENDPOINT"}}
    shell.apply(job("hub", base=FROM_HUB, resources={"pods": {"env": [endpoint]}}))
    shell.wait("finetunereport/hub", ".spec.failure.reason", "HubAuth")
    told = failed(shell, "hub", "HubAuth")
    assert "owner/name" in told
    assert "token" in told


def test_a_program_with_too_little_memory(ready: Shell) -> None:
    shell = ready
    shell.apply(job("memory", resources={"memoryPerWorker": "700Mi"}))
    shell.wait("finetunereport/memory", ".spec.failure.reason", "HostOutOfMemory")
    told = failed(shell, "memory", "HostOutOfMemory")
    assert "resources.memoryPerWorker" in told


def test_a_job_that_takes_longer_than_it_may(ready: Shell) -> None:
    shell = ready
    shell.apply(job("deadline", activeDeadlineSeconds=20))
    told = failed(shell, "deadline", "DeadlineExceeded", 20 + SOON_S)
    assert "20 s" in told
    shell("kubectl wait pods -l diptych.dev/job=deadline --for=delete --timeout=180s", timeout_s=200)


def pods_of(name: str, kind: str) -> str:
    """Return what selects the pods of a job."""
    return f"pods -l diptych.dev/job={name},ray.io/node-type={kind}"


def failed(shell: Shell, name: str, reason: str, within_s: int = SOON_S) -> str:
    """Wait until a job has failed and return what it says of that; reason, hint and phase come together."""
    shell.wait(f"finetunejob/{name}", ".status.phase", "Failed", within_s)
    assert shell.told(f"finetunejob/{name}", ".status.lastFailure.reason") == reason
    assert shell.told(f"finetunejob/{name}", ".status.lastFailure.hint")
    shell(f"kubectl get finetunejob {name}")
    return shell(f"kubectl get finetunejob {name} -o jsonpath='{{.status.lastFailure}}'")
