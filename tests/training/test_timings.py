"""Where the time of training goes, in words that help."""

from pathlib import Path

import pytest
import torch

from diptych_training.stopwatch import Stopwatch
from diptych_training.timings import bottleneck, spent
from support.bare_runs import Listener, train
from support.tiny_jobs import tiny_share


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ({}, ""),
        ({"unet": 8.2, "optimiser": 1.0, "data": 0.8}, "unet takes 82 % of training"),
        ({"unet": 4.0, "data": 6.0}, "data takes 60 % of training; data 60 %: batches come late: more"),
        ({"unet": 6.0, "checkpoint": 2.0, "text": 2.5}, "unet takes 57 % of training; checkpoint 19 %: a larger"),
    ],
)
def test_what_takes_most_is_named_and_what_takes_too_much_has_advice(seconds: dict[str, float], told: str) -> None:
    assert bottleneck(seconds).startswith(told)
    assert len(bottleneck(seconds)) <= 1024


def test_parts_are_told_from_the_longest_on_and_nothing_is_not_told() -> None:
    assert [part.name for part in spent({"data": 1, "unet": 5, "text": 0.0001})] == ["unet", "data"]


def test_a_stopwatch_adds_up_its_laps_until_it_is_reset() -> None:
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(3):
        with watch.lap("unet"):
            torch.randn(64, 64) @ torch.randn(64, 64)
    (part,) = watch.seconds
    assert part == "unet"
    assert watch.seconds["unet"] > 0
    watch.reset()
    assert watch.read() == {}


@pytest.mark.slow
def test_a_run_tells_the_time_of_its_parts_and_its_memory(tmp_path: Path) -> None:
    listener = Listener()
    train(tiny_share(tmp_path, training={"samples": {"everySteps": 3, "prompts": ["red"]}}), listener)
    last = listener.told[-1]
    parts = {"data", "text", "unet", "exchange", "optimiser", "logging", "validation", "pictures", "checkpoint"}
    assert last.parts.keys() == parts
    assert last.peak_memory_bytes is not None
    assert last.peak_memory_bytes > 2**26
    assert last.peak_gpu_memory_bytes is None
