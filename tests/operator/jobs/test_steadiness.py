"""What others break is repaired, what is right is not written again, and a kill at any write loses nothing."""

import copy
from collections.abc import Callable

import pytest

from diptych_operator.defaults import Defaults
from diptych_operator.kinds import ROLE, Ref
from diptych_operator.sealing import APPLIED_ANNOTATION
from support.job_story import BEGIN, POLICY_REF, RAY_JOB_REF, JobStory, job_values

Step = Callable[[JobStory], JobStory]
ARTIFACT = {"uri": "x", "digest": f"sha256:{'b' * 64}", "sizeBytes": 1, "trainableParameters": 1}
CHECKPOINT = {"step": 40, "uri": "s3://bucket/runs/step-000040", "time": "2026-01-31T12:00:00Z"}
STORY: list[tuple[str, Step]] = [
    ("create", lambda story: story.settle()),
    ("provision", lambda story: story.play("Initializing")),
    ("run", lambda story: story.play("Submitting", "Running")),
    ("report", lambda story: story.says("Training", step=40, checkpoint=CHECKPOINT)),
    ("fail", lambda story: story.fails("WorkerLost")),
    ("try again", lambda story: story.wait(10).play("Initializing", "Submitting", "Running")),
    ("suspend", lambda story: story.edit(suspend=True)),
    ("resume", lambda story: story.edit(suspend=False).play("Initializing", "Submitting", "Running")),
    ("lose the RayJob", lambda story: story.lose().play("Initializing", "Submitting", "Running")),
    ("succeed", lambda story: story.says("Succeeded", step=100, artifact=ARTIFACT).play("Succeeded")),
]


@pytest.mark.parametrize("length", range(1, len(STORY) + 1))
def test_nothing_is_written_once_all_is_as_it_should_be(length: int) -> None:
    story = JobStory()
    for _, step in STORY[:length]:
        step(story)
    settled = story.wait(3600).writes
    story.wait(3600)
    assert story.writes == settled


@pytest.mark.parametrize("number", range(len(STORY)), ids=[name for name, _ in STORY])
def test_a_kill_after_any_write_leads_to_the_same_end(number: int) -> None:
    story = JobStory()
    for _, step in STORY[:number]:
        step(story)
    wanted = STORY[number][1](story.copy())
    assert wanted.writes > story.writes
    for write in range(story.writes + 1, wanted.writes + 1):
        killed = story.copy()
        killed.kill_at = write
        assert end_of(STORY[number][1](killed)) == end_of(wanted)


def end_of(story: JobStory) -> object:
    """Return what a person sees at the end. Uids are new with each object, and of no interest."""
    children = {
        str(ref): {**found, "metadata": {**found["metadata"], "uid": ""}} for ref, found in story.objects.items()
    }
    return story.job, children, sorted(story.told)


def test_a_child_that_others_edit_is_set_right() -> None:
    story = JobStory().run()
    for ref, part in ((RAY_JOB_REF, "entrypoint"), (POLICY_REF, "podSelector")):
        before = copy.deepcopy(story.objects[ref]["spec"])
        story.objects[ref]["spec"][part] = "rm -rf /"
        story.settle()
        assert story.objects[ref]["spec"] == before
    assert (story.repairs, story.phase, story.attempt) == (2, "Running", "1")


@pytest.mark.parametrize("ref", [POLICY_REF, Ref(ROLE, "art", "diptych-reporter")])
def test_a_child_that_others_delete_is_made_again(ref: Ref) -> None:
    story = JobStory().run()
    before = story.objects[ref]["metadata"]["labels"]
    story.lose(ref)
    assert story.objects[ref]["metadata"]["labels"] == before


def test_a_newer_operator_leaves_what_runs_as_it_is() -> None:
    story = JobStory().run()
    before, writes = copy.deepcopy(story.objects), story.writes
    story.defaults = Defaults(image="image:2", ray_version="3.0.0", kuberay_namespace="elsewhere", head_memory="9Gi")
    story.settle()
    assert (story.objects, story.writes) == (before, writes)
    story.fails("WorkerLost").wait(10)
    assert story.ray_job is not None
    assert story.ray_job["spec"]["rayClusterSpec"]["rayVersion"] == "3.0.0"


def test_a_rayjob_whose_seal_is_broken_goes_on() -> None:
    story = JobStory().run()
    assert story.ray_job is not None
    story.ray_job["metadata"]["annotations"][APPLIED_ANNOTATION] = "broken"
    assert (story.settle().phase, story.attempt) == ("Running", "1")


def test_conditions_keep_their_times_while_their_status_stays() -> None:
    story = JobStory().settle().wait(60).play("Initializing").wait(60).play("Submitting", "Running")
    times = {each.type: (each.last_transition_time - BEGIN).total_seconds() for each in story.status.conditions}
    assert times == {"Provisioned": 120, "Running": 120, "Succeeded": 0, "Failed": 0, "Suspended": 0}


def test_without_network_policies_in_the_chart_a_job_has_none() -> None:
    story = JobStory(job_values(), defaults=Defaults(image="image:1", network_policies=False)).run()
    assert POLICY_REF not in story.objects
