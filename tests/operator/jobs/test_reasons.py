"""Why a job waits and why it failed: from the report, the pods, their Events and KubeRay, in words that help."""

from typing import Any

import pytest

from diptych_api import errors
from diptych_operator.child import Pod, Trouble
from diptych_operator.jobs.failures import FAILURES
from diptych_operator.pod_failures import HINTS
from support.job_story import JobStory, job_values


def pod(*, name: str = "noto-worker", head: bool = False, **status: Any) -> Pod:
    labels = {"ray.io/node-type": "head" if head else "worker"}
    return Pod(name, f"uid-{name}", labels, None, deleting=False, node="n", status=status)


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "ray", "state": state}]}


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "reason": reason, "message": message}]}


ENDS = [
    (pod(**container(terminated={"reason": "OOMKilled", "exitCode": 137})), "OOMKilled", 137),
    (pod(**container(terminated={"reason": "Error", "exitCode": 1})), "WorkerLost", 1),
    (pod(head=True, **container(terminated={"reason": "Error", "exitCode": 139})), "HeadLost", 139),
    (pod(**condition("DisruptionTarget", "True", "PreemptionByScheduler")), "Preempted", None),
    (pod(**condition("DisruptionTarget", "True", "EvictionByEvictionAPI")), "Drained", None),
    (pod(**condition("DisruptionTarget", "True", "DeletionByTaintManager")), "NodeLost", None),
    (pod(**condition("DisruptionTarget", "True", "TerminationByKubelet", "low on memory")), "Evicted", None),
    (pod(reason="Evicted", message="The node was low on resource: ephemeral-storage."), "Evicted", None),
    (pod(reason="NodeLost"), "NodeLost", None),
    (pod(), "AppFailed", None),
]


@pytest.mark.parametrize(("found", "reason", "code"), ENDS)
def test_pods_tell_why_an_attempt_failed_when_the_program_could_not(found: Pod, reason: str, code: int | None) -> None:
    story = JobStory().run()
    story.pods = (pod(name="noto-a-healthy-one"), found)
    failure = story.play("Failed").wait(5).status.last_failure
    assert failure is not None
    assert (failure.reason, failure.exit_code, bool(failure.hint)) == (reason, code, True)
    assert failure.pod == ("" if reason == "AppFailed" else "noto-worker")


def test_a_program_that_tells_nothing_is_quoted_with_the_end_of_its_log() -> None:
    story = JobStory().run().play("Failed")
    assert story.ray_job is not None
    log = "".join(f"line {number}\n" for number in range(3000))
    story.ray_job["status"]["message"] = f"Job entrypoint command failed with exit code 1, last available logs:\n{log}"
    failure = story.wait(5).status.last_failure
    assert failure is not None
    assert failure.message.startswith("Job entrypoint command failed with exit code 1")
    assert failure.message.endswith("line 2999\n")
    assert len(failure.message) == 2048


def test_what_the_program_says_wins_over_the_exit_code_that_follows() -> None:
    story = JobStory().run()
    story.pods = (pod(**container(terminated={"reason": "Error", "exitCode": 2})),)
    story.fails("GpuOutOfMemory", "23.4 of 24 GiB used.", hint="batchSize: 2 fits", step=1140)
    failure = story.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.step, failure.hint) == ("GpuOutOfMemory", 1140, "batchSize: 2 fits")
    assert story.condition("Failed")[2] == "GpuOutOfMemory: 23.4 of 24 GiB used. batchSize: 2 fits"


def test_a_report_that_comes_after_kuberays_word_still_explains_the_failure() -> None:
    story = JobStory().run().play("Failed").wait(4)
    assert story.phase == "Running"
    story.says("Failed", failure={"reason": "DatasetInvalid", "message": "No pictures."})
    assert story.condition("Failed")[:2] == ("True", "DatasetInvalid")


@pytest.mark.parametrize("vague", ["WorkerLost", "InternalError"])
def test_a_pod_that_was_killed_for_memory_explains_a_lost_worker(vague: str) -> None:
    story = JobStory().run()
    story.pods = (pod(**container(terminated={"reason": "OOMKilled", "exitCode": 137})),)
    assert story.fails(vague).status.attempts[0].reason == "OOMKilled"


def test_a_report_of_an_earlier_attempt_does_not_explain_a_later_one() -> None:
    story = JobStory().run().fails("StoreUnwritable").wait(5).play("Initializing", "Submitting", "Running", "Failed")
    story.wait(5)
    assert story.status.attempts[-1].reason == "AppFailed"


def test_a_rayjob_that_kuberay_finds_invalid_is_not_tried_again() -> None:
    story = JobStory().settle().play("ValidationFailed")
    assert story.condition("Failed")[1] == "SpecInvalid"
    assert "backoffLimit must be a positive integer" in story.condition("Failed")[2]
    assert story.ray_job is None


def scheduler(message: str) -> Pod:
    return pod(**condition("PodScheduled", "False", "Unschedulable", message))


def waiting(reason: str, message: str = "") -> Pod:
    return pod(**container(waiting={"reason": reason, "message": message}))


def loop(reason: str, end: str) -> Pod:
    status = {"name": "ray", "state": {"waiting": {"reason": reason}}, "ready": False}
    last = {"terminated": {"reason": end, "exitCode": 137}}
    return pod(containerStatuses=[status | {"lastState": last}])


WAITS = [
    (waiting("ImagePullBackOff", "Back-off pulling nowhere/ray:1"), "ImagePull"),
    (waiting("InvalidImageName"), "ImagePull"),
    (waiting("CreateContainerConfigError", 'secret "hf" not found'), "ContainerConfig"),
    (waiting("CrashLoopBackOff"), "CrashLoop"),
    (loop("CrashLoopBackOff", "OOMKilled"), "OOMKilled"),
    (loop("CrashLoopBackOff", "Error"), "CrashLoop"),
    (scheduler("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."), "Unschedulable"),
    (
        scheduler('0/1 nodes are available: persistentvolumeclaim "diptych-workspace" not found. not found'),
        "MountFailed",
    ),
]


@pytest.mark.parametrize(("found", "reason"), WAITS)
def test_what_pods_wait_for_is_told_while_they_wait(found: Pod, reason: str) -> None:
    story = JobStory().settle()
    story.pods = (pod(name="fine"), found)
    story.play("Initializing")
    assert (story.phase, story.condition("Provisioned")[:2]) == ("Provisioning", ("False", reason))
    assert story.status.last_failure is None


def test_a_container_that_is_well_again_is_not_said_to_lack_memory() -> None:
    story = JobStory().settle()
    last = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    well = {"name": "ray", "state": {"running": {}}, "ready": True, "lastState": last}
    story.pods = (pod(containerStatuses=[well]),)
    assert story.play("Initializing").condition("Provisioned")[1] == "PodsStarting"


@pytest.mark.parametrize(("event", "reason"), [("FailedMount", "MountFailed"), ("FailedCreate", "CreateFailed")])
def test_events_of_kubernetes_tell_what_no_status_tells(event: str, reason: str) -> None:
    story = JobStory().settle()
    story.troubles = (Trouble("Pod", "noto-head", event, "It did not work."), Trouble("Pod", "noto-head", "Other", "?"))
    assert story.play("Initializing").condition("Provisioned")[1] == reason


SCHEDULED = condition("PodScheduled", "True", "")
PAST = [
    ("FailedScheduling", pod(name="noto-head", head=True, **SCHEDULED)),
    ("FailedMount", pod(name="noto-head", head=True, **container(running={"startedAt": "2026-01-31T12:00:00Z"}))),
    ("FailedToCreateHeadPod", pod(name="noto-head", head=True)),
    ("FailedToCreateRayCluster", pod(name="noto-head", head=True)),
]


@pytest.mark.parametrize(("event", "found"), PAST)
def test_an_event_of_what_is_over_is_not_told_any_more(event: str, found: Pod) -> None:
    story = JobStory().settle()
    story.troubles = (Trouble("Pod", "noto-head", event, "It did not work."),)
    assert story.play("Initializing").condition("Provisioned")[1] != "PodsStarting"
    story.pods = (found,)
    assert story.settle().condition("Provisioned")[1] == "PodsStarting"


def test_pods_that_kuberay_may_not_make_are_told_with_the_quotas_words_until_it_may() -> None:
    story = JobStory().settle()
    story.troubles = (Trouble("RayCluster", "noto-1", "FailedToCreateWorkerPod", "exceeded quota: gpus"),)
    status, reason, message = story.play("Initializing", "PodsRefused").condition("Provisioned")
    assert (status, reason) == ("False", "CreateFailed")
    assert message == f"pods is forbidden: exceeded quota: gpus {HINTS['CreateFailed']}"
    assert story.play("HeadStarting").condition("Provisioned")[1] == "PodsStarting"


def test_an_unschedulable_job_is_told_what_it_asks_for_and_what_to_do() -> None:
    story = JobStory(job_values(resources={"workers": 4, "gpusPerWorker": 4})).settle()
    nodes = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    story.pods = (scheduler(f"{nodes} preemption: 0/3 nodes are available"),)
    message = story.play("Initializing").condition("Provisioned")[2]
    assert message == (
        f"{nodes} 4 workers ask for 4 nvidia.com/gpu, 1 CPU and 8Gi each. "
        "Ask for fewer workers or less for each, or wait: the queue position is unknown without Kueue."
    )


def test_what_a_person_must_mend_is_told_before_what_may_pass() -> None:
    story = JobStory().settle()
    missing = container(waiting={"reason": "ErrImagePull", "message": "not found"})
    story.pods = (scheduler("0/1 nodes are available."), pod(name="noto-head", head=True, **missing))
    assert story.play("Initializing").condition("Provisioned")[1] == "ImagePull"


def test_a_child_that_the_api_server_refuses_is_told_and_then_tried_again() -> None:
    story = JobStory()
    story.refused = "rayjobs.ray.io is forbidden: exceeded quota"
    told = story.plan()
    assert told.actions == ()
    assert {c.type: c for c in told.status.conditions}["Provisioned"].message == story.refused
    story.settle(most=2)
    assert [type(action).__name__ for action in story.plan().actions] == ["Apply"] * 6


def test_every_error_that_a_program_may_report_has_a_row_in_the_taxonomy() -> None:
    reported = {
        error.__name__
        for base in (errors.UserError, errors.RunFailed)
        for error in base.__subclasses__()
        if error.__module__ == errors.__name__
    }
    assert reported <= set(FAILURES)


def test_every_reason_says_what_to_do() -> None:
    assert all(kind.hint for kind in FAILURES.values())
    assert all(HINTS.values())
