"""Retries, suspension and cancelling: what ends an attempt, what is remembered, and what the next one goes on from."""

from datetime import timedelta

import pytest

from diptych_api.jobstatus import FineTuneJobStatus
from diptych_operator.child import Pod
from diptych_operator.plan import Delete
from support.job_story import RAY_JOB_REF, JobStory, job_values

CHECKPOINT = {"step": 40, "uri": "s3://bucket/runs/step-000040", "time": "2026-01-31T12:00:00Z"}


def retried(reason: str = "WorkerLost", limit: int = 2) -> JobStory:
    return JobStory(job_values(retry={"backoffLimit": limit})).run().says("Training", step=40).fails(reason)


def test_a_failure_that_may_pass_is_followed_by_an_attempt_from_the_last_checkpoint() -> None:
    story = JobStory().run().says("Training", step=41, checkpoint=CHECKPOINT).fails("WorkerLost", step=41)
    assert story.phase == "Retrying"
    assert story.ray_job is None
    story.wait(5)
    assert (story.phase, story.attempt, story.status.attempt) == ("Retrying", "2", 2)
    assert story.status.current is not None
    assert story.status.current.from_step == 40
    story.play("Initializing")
    assert story.phase == "Provisioning"


def test_an_attempt_tells_the_time_that_no_checkpoint_has() -> None:
    story = JobStory().run().wait(60)
    saved = {"step": 40, "uri": "s3://bucket/runs/step-000040", "time": story.now.isoformat()}
    story.says("Training", step=40, checkpoint=saved).wait(30).fails("WorkerLost", step=41)
    story.wait(10).run().wait(20).fails("WorkerLost", step=40)
    story.wait(10).run().wait(20).succeeds()
    assert [attempt.lost_seconds for attempt in story.status.attempts] == [30, pytest.approx(20, abs=1), 0]


def test_the_end_of_an_attempt_is_written_down_before_its_rayjob_is_deleted() -> None:
    story = JobStory().run().says("Failed", failure={"reason": "WorkerLost", "message": "Gone."})
    assert story.ray_job is not None
    story.ray_job["status"] |= {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed"}
    first = story.plan()
    assert (first.actions, first.requeue_s) == ((), 0)
    assert isinstance(first.status, FineTuneJobStatus)
    assert [attempt.reason for attempt in first.status.attempts] == ["WorkerLost"]
    (action,) = story.settle(most=2).plan().actions
    assert isinstance(action, Delete)
    assert action.ref == RAY_JOB_REF


def test_failures_are_counted_against_the_backoff_limit() -> None:
    story = retried(limit=1).wait(10).play("Initializing", "Submitting", "Running").fails("StoreUnwritable")
    assert (story.phase, story.status.failures) == ("Failed", 2)
    assert [attempt.reason for attempt in story.status.attempts] == ["WorkerLost", "StoreUnwritable"]
    assert story.condition("Failed")[1] == "StoreUnwritable"


@pytest.mark.parametrize("reason", ["DatasetInvalid", "HubAuth", "NaNLoss", "GpuOutOfMemory", "UnsupportedHere"])
def test_what_would_fail_again_is_not_tried_again(reason: str) -> None:
    assert retried(reason).phase == "Failed"


@pytest.mark.parametrize("reason", ["WorkerLost", "StoreUnwritable", "HostOutOfMemory", "CheckpointCorrupt", "New"])
def test_what_may_pass_is_tried_again(reason: str) -> None:
    assert retried(reason).phase == "Retrying"


def test_the_pause_after_a_failure_grows() -> None:
    story = retried(limit=5)
    assert story.plan().requeue_s == 5
    story.wait(5).play("Initializing", "Submitting", "Running").fails("WorkerLost")
    assert story.plan().requeue_s == 10


def test_the_next_attempt_waits_for_the_pods_of_the_last_but_not_for_ever() -> None:
    story = JobStory().run()
    story.lets_go = False
    story.fails("WorkerLost")
    del story.objects[RAY_JOB_REF]
    story.pods = (Pod("noto-worker", "1", {}, None, deleting=True, node="n", status={}),)
    story.wait(419)
    assert story.ray_job is None
    story.wait(2)
    assert story.attempt == "2"


def test_a_rayjob_that_is_still_going_is_deleted_once_and_waited_for() -> None:
    story = JobStory().run()
    story.lets_go = False
    story.fails("WorkerLost").wait(600)
    assert story.attempt == "1"
    assert story.ray_job is not None
    assert story.ray_job["metadata"]["deletionTimestamp"] == "2026-01-31T12:00:00Z"
    story.lose()
    assert story.attempt == "2"


def test_suspending_takes_the_rayjob_away_and_keeps_the_status() -> None:
    story = JobStory().run().says("Training", step=41, checkpoint=CHECKPOINT)
    story.lets_go = False
    story.edit(suspend=True)
    assert story.phase == "Suspending"
    story.lose()
    assert story.phase == "Suspended"
    assert (story.status.failures, story.status.last_failure) == (0, None)
    assert [attempt.reason for attempt in story.status.attempts] == ["Suspended"]
    assert story.condition("Suspended")[0] == "True"
    assert story.status.progress is not None
    assert story.status.progress.percent == 41


def test_resuming_goes_on_with_the_next_attempt() -> None:
    story = JobStory().run().edit(suspend=True).edit(suspend=False)
    assert (story.phase, story.attempt) == ("Pending", "2")
    story.play("Initializing", "Submitting", "Running").succeeds()
    assert story.phase == "Succeeded"


def test_a_suspended_job_that_never_ran_has_no_rayjob() -> None:
    story = JobStory(job_values(suspend=True)).settle()
    assert (story.phase, story.objects, story.status.attempt) == ("Suspended", {}, 0)
    assert story.edit(suspend=False).attempt == "1"


def test_suspending_does_not_use_up_the_backoff_limit() -> None:
    story = JobStory(job_values(retry={"backoffLimit": 0})).run()
    for _ in range(12):
        story.edit(suspend=True).edit(suspend=False).play("Initializing")
    assert (story.phase, story.attempt, len(story.status.attempts)) == ("Provisioning", "13", 10)


def test_what_a_program_reports_while_it_saves_and_leaves_is_remembered() -> None:
    story = JobStory().run().says("Training", step=41)
    story.lets_go = False
    story.edit(suspend=True).says("Suspended", step=43, checkpoint=CHECKPOINT | {"step": 43}).lose()
    assert story.status.attempts[0].to_step == 43
    story.edit(suspend=False)
    assert story.status.current is not None
    assert story.status.current.from_step == 43


def test_a_suspended_job_can_be_cancelled() -> None:
    assert JobStory().run().edit(suspend=True).annotate("cancel", "true").phase == "Cancelled"


def test_a_job_that_is_cancelled_ends_and_keeps_its_status() -> None:
    story = JobStory().run().says("Training", step=50).annotate("cancel", "true")
    assert (story.phase, story.ray_job) == ("Cancelled", None)
    assert [attempt.reason for attempt in story.status.attempts] == ["Cancelled"]
    assert story.condition("Succeeded")[:2] == ("False", "Cancelled")
    assert story.edit(suspend=True).phase == "Cancelled"


def test_a_job_is_cancelled_between_two_attempts() -> None:
    story = retried().annotate("cancel", "true")
    assert (story.phase, story.ray_job) == ("Cancelled", None)


def test_a_job_that_succeeded_before_anybody_asked_for_its_end_has_succeeded() -> None:
    story = JobStory().run().says("Succeeded", artifact=ARTIFACT)
    assert story.ray_job is not None
    story.job["metadata"]["annotations"] = {"diptych.dev/cancel": "true"}
    story.ray_job["status"] |= {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    assert story.settle().phase == "Succeeded"


ARTIFACT = {"uri": "x", "digest": f"sha256:{'b' * 64}", "sizeBytes": 1, "trainableParameters": 1}


def test_a_failed_job_gets_one_more_attempt_when_asked_for_it() -> None:
    story = retried(limit=0)
    assert story.phase == "Failed"
    story.annotate("retry", "1").wait(5)
    assert (story.phase, story.attempt, story.status.completion_time) == ("Retrying", "2", None)
    story.play("Initializing", "Submitting", "Running").fails("WorkerLost")
    assert (story.phase, story.ray_job is not None) == ("Failed", True)
    story.wait(3600)
    assert story.attempt == "2"


@pytest.mark.parametrize("wish", ["2", "x", ""])
def test_a_wish_for_another_attempt_than_the_last_is_no_wish(wish: str) -> None:
    assert retried(limit=0).annotate("retry", wish).wait(60).phase == "Failed"


def test_a_rayjob_that_somebody_deletes_is_made_again_as_the_next_attempt() -> None:
    story = JobStory(job_values(retry={"backoffLimit": 0})).run().lose()
    assert (story.phase, story.attempt) == ("Retrying", "2")
    assert [attempt.reason for attempt in story.status.attempts] == ["RayJobDeleted"]
    assert (story.status.failures, story.repairs) == (0, 1)


def test_a_status_that_was_lost_after_the_rayjob_was_made_is_written_again() -> None:
    story = JobStory().settle(most=6)
    assert (story.attempt, "status" in story.job) == ("1", False)
    story.now += timedelta(seconds=30)
    story.settle()
    assert (story.status.attempt, story.phase) == (1, "Pending")
    assert story.status.start_time == story.now - timedelta(seconds=30)


def test_a_wiped_status_takes_up_the_attempt_that_runs() -> None:
    story = retried().wait(5).play("Initializing", "Submitting", "Running")
    story.job = {name: value for name, value in story.job.items() if name != "status"}
    story.settle()
    assert (story.status.attempt, story.phase, story.attempt) == (2, "Running", "2")


def test_the_program_that_was_stopped_by_the_dashboard_is_cancelled() -> None:
    assert JobStory().run().says("Suspended", step=3).play("Stopped").phase == "Cancelled"


def test_a_program_that_had_to_go_with_its_node_goes_on_elsewhere() -> None:
    story = JobStory(job_values(retry={"backoffLimit": 0})).run().says("Suspended", step=70)
    drained = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    story.pods = (Pod("noto-head", "1", {}, None, deleting=True, node="n", status={"conditions": [drained]}),)
    story.play("Failed")
    assert (story.status.attempts[0].reason, story.status.failures) == ("Drained", 0)
    assert story.attempt == "2"
