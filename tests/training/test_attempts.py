"""What follows when a worker group fails."""

from typing import Any

import pytest

from diptych_api.errors import GpuOutOfMemory, NaNLoss, WorkerLost
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_training.attempts import Attempt

OUT = GpuOutOfMemory("The GPU's memory ran out.")
LOST = WorkerLost("A worker died.")


def first(**training: Any) -> Attempt:
    values = {
        "base": {"builtin": "tiny-emoji"},
        "dataset": {"source": {"uri": "pictures"}},
        "resources": {"workers": 2},
        "retry": {"backoffLimit": 2},
        "training": {"batchSize": 12, **training},
    }
    return Attempt.first(FineTuneJobSpec.model_validate(values))


def test_lost_workers_are_replaced_as_often_as_the_job_allows() -> None:
    second = first().after(LOST)
    third = second.after(LOST)
    assert (third.number, third.message) == (3, "A worker died. Going on from the last checkpoint (2 of 2).")
    with pytest.raises(WorkerLost):
        third.after(LOST)


def test_pieces_are_halved_at_the_same_batch_until_one_sample_does_not_fit() -> None:
    second = first().after(OUT)
    third = second.after(OUT)
    settings = [attempt.spec.training for attempt in (second, third)]
    assert [(each.batch_size, each.micro_batch_size) for each in settings] == [(12, 3), (12, 1)]
    assert third.message == "The GPU's memory ran out. Going on with 1 at once."
    with pytest.raises(GpuOutOfMemory):
        third.after(OUT)


def test_memory_that_runs_out_is_no_lost_worker() -> None:
    attempt = first().after(OUT).after(LOST).after(OUT).after(LOST)
    assert attempt.spec.training.micro_batch_size == 1
    with pytest.raises(WorkerLost):
        attempt.after(LOST)


def test_a_size_that_the_job_sets_is_kept() -> None:
    with pytest.raises(GpuOutOfMemory):
        first(microBatchSize=6).after(OUT)


def test_what_would_fail_the_same_way_ends_the_run() -> None:
    with pytest.raises(NaNLoss):
        first().after(NaNLoss("The loss became nan at step 3."))
