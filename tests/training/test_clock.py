"""Limits of a run on one machine: its deadline and its GPU seconds, over all attempts."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from diptych_api.errors import DeadlineExceeded, GpuBudgetExceeded, Interrupted
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.report import Report
from diptych_api.runstore import STATUS_FILE, run_name
from diptych_training.clock import Clock, exceeded, kept_within
from diptych_training.reporter import Reporter
from diptych_training.run import RunOptions, run
from diptych_training.run_store import RunStore


class Hands:
    """A clock's hands, moved by the test."""

    at = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.at


def spec_of(**fields: Any) -> FineTuneJobSpec:
    values = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}, **fields}
    return FineTuneJobSpec.model_validate(values)


def report(**fields: Any) -> Report:
    return Report(phase="Suspended", time=datetime(2026, 1, 1, tzinfo=UTC), **fields)


def test_time_between_attempts_does_not_count_and_gpus_count_from_when_they_are_held() -> None:
    hands, spec = Hands(), spec_of(resources={"workers": 2, "gpusPerWorker": 1})
    clock = Clock.after(report(active_seconds=100.0, gpu_seconds=60.0), spec, hands)
    hands.at = 10
    clock.hold_gpus()
    hands.at = 15
    assert (clock.active_seconds, clock.gpu_seconds) == (115, 70)


def test_the_time_of_each_phase_adds_up_over_attempts() -> None:
    hands = Hands()
    first = Reporter(lambda _: None, clock=Clock.after(None, spec_of(), hands))
    first.phase("Preparing")
    hands.at += 2
    first.phase("Training")
    hands.at += 30
    first.update(phase="Suspended")
    hands.at += 1000
    second = Reporter(lambda _: None, clock=Clock.after(first.report, spec_of(), hands))
    second.phase("Training")
    hands.at += 12
    second.phase("Exporting")
    assert {phase.name: phase.seconds for phase in second.report.phases} == {"Training": 42, "Preparing": 2}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"activeDeadlineSeconds": 116}, None),
        ({"activeDeadlineSeconds": 115}, DeadlineExceeded),
        ({"maxGpuSeconds": 71}, None),
        ({"maxGpuSeconds": 70}, GpuBudgetExceeded),
    ],
)
def test_a_limit_is_reached_when_all_attempts_together_are(fields: dict[str, Any], error: type | None) -> None:
    hands = Hands()
    clock = Clock(gpus=2, active_before=100, gpu_before=60, now=hands)
    hands.at = 10
    clock.hold_gpus()
    hands.at = 15
    assert type(exceeded(spec_of(**fields), clock)) is (error or type(None))


def test_without_gpus_a_budget_of_gpu_seconds_never_ends() -> None:
    assert exceeded(spec_of(maxGpuSeconds=1), Clock(active_before=1000)) is None


def test_a_run_at_its_limit_is_asked_to_stop_and_says_which_limit() -> None:
    hands, stop = Hands(), threading.Event()

    def work() -> None:
        hands.at = 61
        assert stop.wait(10)
        raise Interrupted("Stopped and saved at step 7.")

    limits = kept_within(spec_of(activeDeadlineSeconds=60), Clock(now=hands), stop)
    with pytest.raises(DeadlineExceeded, match="longer than 60 s, its activeDeadlineSeconds") as caught, limits:
        work()
    assert "run again to go on" in caught.value.hint


def test_somebody_elses_wish_to_stop_is_no_deadline() -> None:
    with pytest.raises(Interrupted), kept_within(spec_of(activeDeadlineSeconds=60), Clock(), threading.Event()):
        raise Interrupted("Stopped.")


def test_a_run_whose_time_is_up_fails_at_once_and_goes_on_with_a_higher_deadline(tmp_path: Path) -> None:
    def job(deadline: int) -> FineTuneJob:
        spec = spec_of(activeDeadlineSeconds=deadline, output={"uri": str(tmp_path)})
        return FineTuneJob.model_validate({"metadata": {"name": "late"}, "spec": spec})

    first = job(deadline=60)
    store = RunStore.open(first.spec.output, "local", run_name("late", first.spec), tmp_path)
    store.write_json(STATUS_FILE, report(active_seconds=61.0))
    with pytest.raises(DeadlineExceeded):
        run(first, RunOptions(tmp_path), lambda _: None)
    told = store.read_json(STATUS_FILE, Report)
    assert told is not None
    assert told.failure is not None
    assert (told.phase, told.failure.reason) == ("Failed", "DeadlineExceeded")
    assert run_name("late", job(deadline=600).spec) == store.name
