"""The phases of a job, from KubeRay's words and the program's."""

import pytest

from diptych_operator.jobs.plan import plan
from support.job_story import JobStory, job_values

PHASES = [
    (("Initializing",), "Provisioning"),
    (("Initializing", "HeadMissing"), "Provisioning"),
    (("Initializing", "WorkersStarting"), "Provisioning"),
    (("Initializing", "Submitting"), "Starting"),
    (("Initializing", "Submitting", "Pending"), "Starting"),
    (("Initializing", "Submitting", "Pending", "Running"), "Running"),
    (("Initializing", "Suspending"), "Pending"),
    (("Initializing", "Suspending", "Suspended"), "Pending"),
    (("Initializing", "Submitting", "Running", "Failed"), "Retrying"),
    (("Initializing", "Submitting", "Running", "Stopped"), "Cancelled"),
    (("Initializing", "PreRunningDeadlineExceeded"), "Retrying"),
    (("Initializing", "DeadlineExceeded"), "Failed"),
    (("ValidationFailed",), "Failed"),
]


@pytest.mark.parametrize(("states", "phase"), PHASES)
def test_what_kuberay_says_becomes_the_phase(states: tuple[str, ...], phase: str) -> None:
    assert JobStory().settle().play(*states).wait(5).phase == phase


def test_a_new_job_gets_its_children_in_one_plan_and_is_pending() -> None:
    story = JobStory().settle()
    made = sorted(ref.kind.kind for ref in story.objects)
    assert made == ["NetworkPolicy", "RayJob", "Role", "RoleBinding", "ServiceAccount", "ServiceAccount"]
    assert (story.phase, story.attempt, story.status.attempt) == ("Pending", "1", 1)
    assert story.condition("Provisioned")[:2] == ("False", "WaitingForKubeRay")


def test_a_job_without_mishap_tells_each_phase_once_and_writes_its_status_once_for_each() -> None:
    story = JobStory().run()
    story.wait(60).succeeds()
    assert story.phases == ["Pending", "Provisioning", "Starting", "Running", "Succeeded"]
    assert [note.reason for note in story.told.values()] == story.phases
    # four accounts, two children, five Events; the status once a phase, and for two reports and two words of KubeRay
    assert story.writes <= 6 + 5 + 5 + 4


def test_success_needs_the_artifact_that_the_program_reports() -> None:
    story = JobStory().run().play("Succeeded")
    assert story.phase == "Running"
    story.says("Succeeded", step=100, artifact={"uri": "x", "digest": f"sha256:{'b' * 64}"} | SIZES)
    assert story.phase == "Succeeded"
    assert story.status.artifact is not None
    assert story.condition("Succeeded")[0] == "True"
    assert story.status.columns.progress == "100%"
    assert story.status.completion_time is not None


SIZES = {"sizeBytes": 1, "trainableParameters": 1}


def test_success_without_an_artifact_fails_after_a_minute() -> None:
    story = JobStory().run().play("Succeeded").wait(59)
    assert story.phase == "Running"
    story.wait(2)
    assert (story.phase, story.condition("Failed")[1]) == ("Failed", "ArtifactMissing")


def test_an_earlier_attempts_success_report_decides_nothing() -> None:
    story = JobStory().run().says("Succeeded", attempt=2, artifact={"uri": "x", "digest": f"sha256:{'b' * 64}"} | SIZES)
    story.play("Succeeded").wait(61)
    assert story.phase == "Failed"


def test_a_job_of_another_manager_is_left_alone() -> None:
    story = JobStory(job_values(managedBy="kueue.x-k8s.io/multikueue"))
    assert plan(story.seen(), story.defaults, story.now) is None


def test_a_spec_that_cannot_become_pods_fails_at_once_and_makes_nothing() -> None:
    story = JobStory(job_values(output={"uri": "../runs"})).settle()
    assert (story.phase, story.objects) == ("Failed", {})
    status, reason, message = story.condition("Failed")
    assert (status, reason) == ("True", "SpecInvalid")
    assert "output.uri: '../runs'" in message
    assert "output.pvc" in message


def test_every_condition_is_there_from_the_first_write_so_that_kubectl_wait_works() -> None:
    story = JobStory().settle()
    kinds = [condition.type for condition in story.status.conditions]
    assert kinds == ["Provisioned", "Running", "Succeeded", "Failed", "Suspended"]
    assert {condition.observed_generation for condition in story.status.conditions} == {1}


def test_a_rayjob_of_another_owner_is_neither_used_nor_deleted() -> None:
    story = JobStory().settle()
    assert story.ray_job is not None
    story.ray_job["metadata"]["ownerReferences"][0]["uid"] = "an older job of this name"
    story.job = job_values()
    kept = dict(story.objects)
    story.settle()
    assert story.objects == kept
    assert story.condition("Provisioned")[1] == "NameTaken"
    assert story.ray_job is not None
    story.ray_job["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    assert "is on its way out" in story.settle().condition("Provisioned")[2]


def test_a_finished_jobs_pods_are_left_to_kuberay_for_the_time_that_is_set() -> None:
    story = JobStory().run().succeeds()
    story.edit(ttlSecondsAfterFinished=600)
    assert story.ray_job is not None
    assert story.ray_job["spec"]["ttlSecondsAfterFinished"] == 600
    assert story.ray_job["status"]["jobDeploymentStatus"] == "Complete"
    assert story.status.observed_generation == 2


def test_a_time_to_live_that_changes_while_the_job_runs_is_all_that_changes() -> None:
    story = JobStory().run()
    assert story.ray_job is not None
    before = story.ray_job["spec"]
    story.edit(ttlSecondsAfterFinished=60)
    assert story.ray_job["spec"] == before | {"ttlSecondsAfterFinished": 60}
