"""A job that everything happens to: it ends as one that nothing happens to, with the same losses to the last digit."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.installing import HOME
from e2e.jobs import job, step, workspace
from e2e.shell import Shell
from e2e.volume import keeper, losses
from support.waiting import until

if TYPE_CHECKING:
    from cluster.node.access import Access

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
STEPS = 400
LONG = {"steps": STEPS, "checkpoint": {"everySteps": 20}, "validation": {"everySteps": 100}}
PATIENCE_S = 400
"""A job's pods, Ray and the program take a minute or two to start on two cores."""
PODS = "pods -l diptych.dev/job=storm"
HEAD, WORKER = (f"{PODS},ray.io/node-type={kind}" for kind in ("head", "worker"))
NAMES = ".items[*].metadata.name"
TRAINERS = 'grep -l "ray::[R]ayTrainWorker" /proc/[0-9]*/cmdline 2>/dev/null; true'


@pytest.fixture(scope="module")
def calm(shared_shell: Shell, node: "Access") -> dict[tuple[str, int], float]:
    """Return the losses of a job that nothing happened to."""
    shell = shared_shell
    shell.apply(workspace(), keeper(node.images.busybox), job("calm", training=LONG))
    shell("kubectl wait finetunejob/calm --for=condition=Succeeded --timeout=12m", timeout_s=750)
    shell("kubectl wait pod/keeper --for=condition=Ready --timeout=60s")
    return losses(shell, "calm")


@pytest.fixture(scope="module")
def storm(shared_shell: Shell, calm: object) -> Iterator[Shell]:
    """Yield a shell beside the same job under another name, which trains."""
    shell = shared_shell
    shell.apply(job("storm", training=LONG, retry={"backoffLimit": 5}))
    until(lambda: step(shell, "storm") > 0, PATIENCE_S, every_s=1)
    yield shell
    shell("kubectl delete finetunejob/storm finetunejob/calm")


def test_the_operator_is_deleted(storm: Shell) -> None:
    pods = storm.told(PODS, NAMES)
    storm(f"kubectl delete pod -n {HOME} -l app.kubernetes.io/component=operator")
    goes_on(storm)
    assert storm.told(PODS, NAMES) == pods


def test_the_container_runtime_crashes(storm: Shell, node: "Access") -> None:
    pods = storm.told(PODS, NAMES)
    node.restart_runtime()
    goes_on(storm)
    assert storm.told(PODS, NAMES) == pods


def test_the_training_process_is_killed(storm: Shell) -> None:
    before = step(storm, "storm")
    worker = storm.told(WORKER, ".items[0].metadata.name")
    killed = trainers(storm, worker)
    assert killed
    storm(f"kubectl exec {worker} -c ray -- sh -c 'kill -9 {' '.join(killed)}'")
    until(lambda: bool(set(trainers(storm, worker)) - set(killed)), PATIENCE_S, every_s=1)
    until(lambda: reached(storm, before), PATIENCE_S, every_s=1)


def test_the_head_is_deleted(storm: Shell) -> None:
    attempt, before = number(storm), step(storm, "storm")
    storm(f"kubectl delete pod {storm.told(HEAD, '.items[0].metadata.name')}", timeout_s=180)
    until(lambda: number(storm) == attempt + 1, PATIENCE_S, every_s=1)
    until(lambda: reached(storm, before), PATIENCE_S, every_s=1)
    assert storm.told("finetunejob/storm", ".status.attempts[-1].reason")


def test_the_job_is_suspended_and_resumed(storm: Shell) -> None:
    before = step(storm, "storm")
    storm("diptych suspend storm")
    storm(f"kubectl wait {PODS} --for=delete --timeout=180s", timeout_s=200)
    storm.wait("finetunejob/storm", ".status.phase", "Suspended", 60)
    storm("diptych resume storm")
    until(lambda: reached(storm, before), PATIENCE_S, every_s=1)


def test_the_node_is_drained(storm: Shell) -> None:
    before = step(storm, "storm")
    node = storm.told(WORKER, ".items[0].spec.nodeName")
    pods = "--pod-selector=diptych.dev/job=storm --force --delete-emptydir-data"
    try:
        storm(f"kubectl drain {node} {pods} --timeout=180s", timeout_s=200)
    finally:
        storm(f"kubectl uncordon {node}")
    until(lambda: reached(storm, before), PATIENCE_S, every_s=1)


def test_it_ends_as_if_nothing_had_happened(storm: Shell, calm: dict[tuple[str, int], float]) -> None:
    storm("kubectl wait finetunejob/storm --for=condition=Succeeded --timeout=12m", timeout_s=750)
    assert len(calm) > STEPS
    assert losses(storm, "storm") == calm
    storm("kubectl get finetunejob storm -o jsonpath='{.status.attempts}'")
    assert storm.told("finetunejob/storm", ".status.attempts[-1].fromStep") not in ("", "0")


def trainers(shell: Shell, worker: str) -> list[str]:
    """Return the processes of a pod that train."""
    files = shell.quietly(f"kubectl exec {worker} -c ray -- sh -c '{TRAINERS}'").split()
    return [Path(file).parent.name for file in files]


def number(shell: Shell) -> int:
    """Return the attempt."""
    return int(shell.told("finetunejob/storm", ".status.attempt") or 0)


def reached(shell: Shell, before: int) -> bool:
    """Return whether the job trains again and has come further than it was."""
    return (
        shell.told("finetunejob/storm", ".status.phase") in ("Running", "Succeeded") and step(shell, "storm") > before
    )


def goes_on(shell: Shell) -> None:
    """Wait until more steps are told, in the attempt that there was."""
    attempt, before = number(shell), step(shell, "storm")
    until(lambda: step(shell, "storm") > before, 120, every_s=1)
    assert number(shell) == attempt
