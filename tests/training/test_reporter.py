"""What a run leaves of its steps in an object store, where every line more puts a file anew."""

import json
from dataclasses import replace

import pytest

from diptych_api.report import Report
from diptych_training.letters import Progress, Row, Standing
from diptych_training.reporter import Reporter
from diptych_training.run_store import RunStore
from support.bucket import Bucket


@pytest.fixture
def store() -> RunStore:
    return RunStore(Bucket(), "bucket/local/noto")


def letter(step: int) -> Progress:
    row = Row(step=step, loss=1.0, learning_rate=0.1)
    return Progress(step, 9, 0, Standing(), images_per_second=None, eta_seconds=None, rows=(row,))


def steps(store: RunStore) -> list[int]:
    return [json.loads(line)["step"] for line in store.read_lines("metrics.jsonl")]


def test_steps_wait_for_each_other_and_none_is_lost_or_told_twice(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych_training.reporter.REMOTE_EVERY_S", 10_000)
    reporter = Reporter(lambda _: None, store)
    reporter.phase("Training")
    for step in (1, 2, 3):
        reporter.on_letter(letter(step))
    assert steps(store) == []
    reporter.phase("Exporting")
    assert steps(store) == [1, 2, 3]
    again = Reporter(lambda _: None, store)
    for step in (2, 3, 4):
        again.on_letter(letter(step))
    again.failed(MemoryError())
    assert steps(store) == [1, 2, 3, 4]


def test_who_lost_its_run_to_another_writes_no_more(store: RunStore) -> None:
    told = list[Report]()
    reporter = Reporter(told.append, store)
    reporter.phase("Training")
    reporter.store = None
    reporter.on_letter(letter(1))
    reporter.phase("Exporting")
    assert [report.phase for report in told] == ["Training", "Training", "Exporting"]
    left = store.read_json("status.json", Report)
    assert left is not None
    assert left.phase == "Training"


def test_the_newest_pictures_are_told_those_of_an_earlier_process_too(store: RunStore) -> None:
    for name in ("step-000000.png", *(f"step-{step:06}.png" for step in range(100, 108)), "notes.txt", "step-x.png"):
        store.write_bytes(f"samples/{name}", b"")
    reporter = Reporter(lambda _: None, store)
    reporter.on_letter(letter(1))
    assert [sample.step for sample in reporter.report.samples] == list(range(100, 108))
    assert reporter.report.samples[-1].uri == store.uri("samples/step-000107.png")
    store.write_bytes("samples/step-000108.png", b"")
    reporter.on_letter(replace(letter(2), sample_step=108, remark="A word."))
    assert (reporter.report.samples[-1].step, reporter.report.message) == (108, "A word.")
