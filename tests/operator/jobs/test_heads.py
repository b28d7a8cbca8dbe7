"""A head that is lost ends its attempt: KubeRay would start the program anew in the next one, and count nothing."""

from typing import Any

import pytest

from diptych_operator.child import Pod
from support.job_story import JobStory, job_values

OOM: dict[str, Any] = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}


def head(uid: str = "head", *, phase: str = "Running", deleting: bool = False, **container: Any) -> Pod:
    labels = {"ray.io/node-type": "head", "ray.io/cluster": "noto-1"}
    status = {"phase": phase, "containerStatuses": [{"name": "ray", "restartCount": 0, **container}]}
    return Pod(f"noto-{uid}", uid, labels, None, deleting=deleting, node="n", status=status)


def running(limit: int = 1) -> JobStory:
    story = JobStory(job_values(retry={"backoffLimit": limit})).settle()
    story.pods = (head(),)
    return story.run().says("Training", step=40)


def then(story: JobStory, *pods: Pod) -> JobStory:
    story.pods = pods
    return story.settle()


def test_a_head_that_stays_as_it_is_ends_nothing() -> None:
    story = then(running(), head())
    assert (story.phase, story.attempt) == ("Running", "1")


def test_a_head_that_is_killed_for_memory_and_started_anew_ends_its_attempt() -> None:
    story = then(running(), head(restartCount=1, **OOM))
    failure = story.status.last_failure
    assert failure is not None
    assert (story.phase, failure.reason, failure.pod, failure.exit_code) == ("Retrying", "OOMKilled", "noto-head", 137)
    assert "ray.headMemory" in failure.hint


def test_a_head_that_is_lost_again_and_again_uses_up_the_attempts() -> None:
    story = then(running(limit=0), head(restartCount=1, **OOM))
    assert (story.phase, story.condition("Failed")[1]) == ("Failed", "OOMKilled")


@pytest.mark.parametrize(("said", "reason", "failures"), [("Training", "HeadLost", 1), ("Suspended", "Interrupted", 0)])
def test_another_head_in_its_place_ends_the_attempt(said: str, reason: str, failures: int) -> None:
    story = then(running().says(said, step=40), head("other", phase="Pending"))
    assert (story.status.attempts[0].reason, story.status.failures) == (reason, failures)


def test_a_head_that_is_leaving_is_waited_for() -> None:
    assert then(running(), head(deleting=True)).phase == "Running"


def test_a_head_that_goes_after_the_artifact_was_told_takes_nothing_away() -> None:
    story = running().says("Succeeded", step=100)
    assert then(story, head("other")).phase == "Running"


def test_a_head_that_was_started_anew_before_the_program_ran_is_no_loss() -> None:
    story = JobStory().settle().play("Initializing")
    story.pods = (head(restartCount=2, **OOM),)
    story.play("WorkersStarting", "Submitting", "Running")
    assert then(story, head(restartCount=2, **OOM)).phase == "Running"
