"""What people see of a running job."""

import pytest

from diptych_operator.jobs.progress import duration
from support.job_story import JobStory, job_values


def test_a_report_becomes_percent_eta_and_a_loss_of_four_digits() -> None:
    story = JobStory().run()
    story.says("Training", step=71, loss=0.1129871, valLoss=0.1309, imagesPerSecond=31.07, etaSeconds=41.2)
    status = story.status
    assert status.progress is not None
    assert (status.progress.percent, status.progress.loss, status.progress.images_per_second) == (71, 0.113, 31.07)
    assert (status.columns.progress, status.columns.eta, status.columns.base) == ("71%", "41s", "tiny-emoji")


def test_what_is_done_beside_training_counts_in_its_own_items() -> None:
    story = JobStory().run().says("Captioning", step=0, done=300, total=2500)
    assert story.status.columns.progress == "Captioning 12%"
    assert story.status.progress is not None
    assert (story.status.progress.done, story.status.progress.total) == (300, 2500)
    assert story.says("Caching", step=0, done=0, total=0).status.columns.progress == "0%"
    assert story.says("Training", step=71, done=2500, total=2500).status.columns.progress == "71%"
    assert story.says("Evaluating", step=100, done=40, total=40).status.columns.progress == "Evaluating 100%"


def test_what_takes_most_time_and_memory_is_copied() -> None:
    story = JobStory().run().says("Training", step=7, bottleneck="data takes 60 % of training", peakMemoryBytes=2**30)
    progress = story.status.progress
    assert progress is not None
    assert (progress.bottleneck, progress.peak_memory_bytes) == ("data takes 60 % of training", 2**30)


def test_samples_checkpoint_and_figures_are_copied() -> None:
    checkpoint = {"step": 40, "uri": "s3://bucket/c", "time": "2026-01-31T12:00:00Z"}
    figures = [{"name": "ValidationLoss", "base": 0.2, "tuned": 0.1, "n": 40}]
    story = JobStory().run()
    story.says("Evaluating", step=100, checkpoint=checkpoint, samples=[{"step": 50, "uri": "s"}], metrics=figures)
    status = story.status
    assert status.checkpoint is not None
    assert (status.checkpoint.step, status.samples[0].uri, status.evaluation[0].tuned) == (40, "s", 0.1)


def test_a_new_attempt_keeps_what_is_known_until_it_trains() -> None:
    checkpoint = {"step": 40, "uri": "s3://bucket/c", "time": "2026-01-31T12:00:00Z"}
    story = JobStory().run().says("Training", step=45, loss=0.2, checkpoint=checkpoint).edit(suspend=True)
    story.edit(suspend=False).play("Initializing", "Submitting", "Running").says("Preparing", totalSteps=0)
    status = story.status
    assert status.progress is not None
    assert (status.progress.activity, status.progress.percent, status.progress.loss) == ("Preparing", 45, 0.2)
    assert status.checkpoint is not None
    assert status.columns.eta == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (41.2, "41s"), (59.6, "1m00s"), (272, "4m32s"), (750, "12m"), (7800, "2h10m"), (266_400, "3d2h")],
)
def test_time_left_reads_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_longest_time_left_fits_its_column() -> None:
    assert len(duration(1e30)) <= 16


def test_the_runs_folder_is_told_as_the_pods_see_it() -> None:
    story = JobStory(job_values(output={"pvc": {"claimName": "store", "path": "runs"}})).settle()
    assert story.status.run is not None
    assert story.status.run.startswith("/mnt/claims/store/runs/art/noto-")
