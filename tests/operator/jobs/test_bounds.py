"""Deadlines and budgets over all attempts, and what GPUs are counted."""

from support.job_story import JobStory, job_values


def test_gpu_seconds_count_from_when_the_pods_were_ready_until_the_end() -> None:
    story = (
        JobStory().settle().play("Initializing").wait(100).play("WorkersStarting", "Submitting", "Pending", "Running")
    )
    story.wait(50).succeeds()
    assert (story.status.gpus, story.status.gpu_seconds) == (2, 100)
    assert story.status.attempts[0].gpu_seconds == 100


def test_gpu_seconds_of_a_running_job_are_those_at_its_last_report() -> None:
    story = JobStory().run().wait(30).says("Training", step=1).wait(600)
    assert story.status.gpu_seconds == 60


def test_a_report_from_a_clock_that_is_ahead_counts_no_gpu_seconds_of_the_future() -> None:
    story = JobStory().run().wait(10).says("Training", step=1)
    assert story.status.gpu_seconds == 20
    assert story.wait(10).says("Training", step=2, time="2030-01-31T12:00:00Z").status.gpu_seconds == 20


def test_gpu_seconds_of_attempts_add_up() -> None:
    story = JobStory().run().wait(50).fails("WorkerLost").wait(60).play("Initializing", "Submitting", "Running")
    story.wait(25).fails("WorkerLost")
    assert [attempt.gpu_seconds for attempt in story.status.attempts] == [100, 50]
    assert story.status.gpu_seconds == 150


def test_a_queue_that_takes_the_gpus_back_does_not_have_them_counted_twice() -> None:
    story = JobStory(job_values(labels={"kueue.x-k8s.io/queue-name": "gpus"})).run().wait(50)
    story.play("Suspending", "Suspended").wait(1000).play("New", "Initializing", "Submitting", "Running")
    story.wait(10).succeeds()
    assert (story.status.gpu_seconds, len(story.status.attempts)) == (120, 1)


def test_the_budget_of_gpu_seconds_ends_the_job_when_it_is_used_up() -> None:
    story = JobStory(job_values(maxGpuSeconds=100)).run().wait(49)
    assert story.phase == "Running"
    story.wait(2)
    assert (story.phase, story.ray_job) == ("Failed", None)
    assert story.condition("Failed")[1] == "GpuBudgetExceeded"


def test_a_budget_that_is_raised_in_time_lets_the_job_go_on() -> None:
    story = JobStory(job_values(maxGpuSeconds=100)).run().wait(40).edit(maxGpuSeconds=1000).wait(60)
    assert story.phase == "Running"


def test_a_used_up_budget_allows_no_further_attempt_until_it_is_raised() -> None:
    story = JobStory(job_values(maxGpuSeconds=100)).run().wait(60).annotate("retry", "1").wait(10)
    assert (story.phase, story.ray_job) == ("Failed", None)
    story.edit(maxGpuSeconds=200)
    assert (story.phase, story.attempt) == ("Retrying", "2")


def test_the_deadline_holds_over_all_attempts_and_not_while_suspended() -> None:
    story = JobStory(job_values(activeDeadlineSeconds=100)).run().wait(60).edit(suspend=True).wait(10_000)
    story.edit(suspend=False).play("Initializing", "Submitting", "Running").wait(39)
    assert story.phase == "Running"
    assert story.ray_job is not None
    assert story.ray_job["spec"]["activeDeadlineSeconds"] == 40 + 60
    story.wait(2)
    assert (story.phase, story.condition("Failed")[1]) == ("Failed", "DeadlineExceeded")
    assert story.ray_job is None


def test_waiting_in_a_queue_is_not_held_against_a_job() -> None:
    queued = job_values(labels={"kueue.x-k8s.io/queue-name": "gpus"}, activeDeadlineSeconds=100)
    story = JobStory(queued).settle().play("Initializing", "Suspending", "Suspended").wait(10_000)
    assert story.phase == "Pending"
    story.play("New", "Initializing", "Submitting", "Running").wait(99)
    assert story.phase == "Running"
    assert story.wait(2).phase == "Failed"


def test_the_wait_for_pods_is_given_to_kuberay_and_its_end_tells_what_they_waited_for() -> None:
    story = JobStory(job_values(preRunningDeadlineSeconds=60)).settle()
    assert story.ray_job is not None
    assert story.ray_job["spec"]["preRunningDeadlineSeconds"] == 60
    story.play("Initializing", "PreRunningDeadlineExceeded")
    assert story.status.last_failure is not None
    assert story.status.last_failure.reason == "PreRunningDeadline"
