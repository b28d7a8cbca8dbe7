"""Jobs that Kueue lets in."""

from support.job_story import JobStory, job_values

QUEUE = {"kueue.x-k8s.io/queue-name": "gpus", "kueue.x-k8s.io/priority-class": "high"}


def queued() -> JobStory:
    return JobStory(job_values(labels=QUEUE | {"team": "art"})).settle()


def test_the_queues_labels_are_on_the_rayjob_from_the_start_and_no_others() -> None:
    story = queued()
    assert story.ray_job is not None
    labels = story.ray_job["metadata"]["labels"]
    assert QUEUE.items() <= labels.items()
    assert "team" not in labels
    assert "suspend" not in story.ray_job["spec"]


def test_a_job_in_the_queue_is_pending_and_says_so() -> None:
    story = queued().play("Initializing", "Suspending", "Suspended")
    assert story.phase == "Pending"
    assert story.condition("Admitted")[:2] == ("False", "WaitingForQuota")
    assert story.condition("Provisioned")[1] == "WaitingForQuota"


def test_a_job_that_is_let_in_runs() -> None:
    story = queued().play("Initializing", "Suspending", "Suspended", "New", "Initializing", "Submitting", "Running")
    assert story.phase == "Running"
    assert story.condition("Admitted")[0] == "True"


def test_what_the_queue_writes_into_a_rayjob_is_left_alone() -> None:
    story = queued().play("Initializing", "Suspending", "Suspended")
    assert story.ray_job is not None
    story.ray_job["spec"] |= {"suspend": True, "entrypoint": "changed"}
    before = story.writes
    story.settle()
    assert story.writes == before


def test_only_jobs_with_a_queue_have_the_condition() -> None:
    assert "Admitted" not in {condition.type for condition in JobStory().settle().status.conditions}


def test_a_rayjob_that_somebody_suspended_without_a_queue_is_told() -> None:
    story = JobStory().run().play("Suspending", "Suspended")
    assert story.condition("Provisioned")[1] == "RayJobSuspended"
    assert "spec.suspend" in story.condition("Provisioned")[2]


def test_a_phase_that_comes_again_is_told_again() -> None:
    story = JobStory().run().wait(10).play("Suspending", "Suspended").wait(10)
    story.play("New", "Initializing", "Submitting", "Running")
    assert [note.reason for note in story.told.values()].count("Running") == 2
