"""Pictures drawn on the way: there when they are due, the same for the same weights, unnoticed by training."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych_api.errors import StoreUnwritable
from diptych_training.building import build_loop
from diptych_training.painting import Painter
from diptych_training.run_store import RunStore
from diptych_training.sample_files import sample_path, sample_steps
from support.bare_runs import CPU, Listener, finish, in_workers, same_weights, train
from support.tiny_jobs import tiny_share

pytestmark = pytest.mark.slow
SAMPLED = {"samples": {"everySteps": 2, "prompts": ["red thing", "blue thing"]}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base, pictures and cache of all jobs here."""
    return tmp_path_factory.mktemp("painting")


def sheet(store: RunStore, step: int) -> bytes:
    data = store.read_bytes(sample_path(step))
    assert data is not None
    return data


def test_pictures_come_on_time_and_neither_training_nor_a_resume_notices_them(root: Path) -> None:
    plain, part, rest = Listener(), Listener(stop_at=3), Listener()
    undisturbed = train(tiny_share(root, output={"uri": "plain"}), plain)
    whole = tiny_share(root, training=SAMPLED, output={"uri": "whole"})
    assert same_weights(undisturbed, train(whole, Listener()))
    assert sample_steps(whole.store) == [0, 2, 4, 6]
    share = tiny_share(root, training=SAMPLED, output={"uri": "stopped"})
    train(share, part)
    resumed = train(share, rest, go_on=True)
    assert part.losses() | rest.losses() == plain.losses()
    assert same_weights(undisturbed, resumed)
    assert [sheet(share.store, step) for step in (0, 2, 4, 6)] == [sheet(whole.store, step) for step in (0, 2, 4, 6)]
    assert rest.told[-1].sample_step == 6


def test_a_stop_is_heard_while_drawing_and_a_resume_draws_what_it_cut_short(root: Path) -> None:
    share = tiny_share(root, training=SAMPLED | {"validation": {"everySteps": 9}}, output={"uri": "cut"})
    stopped = train(share, Listener(stop_at=2))
    assert (stopped.step, sample_steps(share.store)) == (2, [0])
    train(share, Listener(), go_on=True)
    assert sample_steps(share.store) == [0, 2, 4, 6]


def test_without_prompts_the_last_pictures_are_the_first_of_the_evaluation(root: Path) -> None:
    share = tiny_share(root, training={"samples": {"everySteps": 6}}, output={"uri": "unasked"})
    train(share, Listener())
    folder, _ = finish(share)
    with (
        Image.open(io.BytesIO(sheet(share.store, 6))) as drawn,
        Image.open(folder / "evaluation/tuned/000.png") as told,
    ):
        first = np.asarray(drawn.crop((24, 24, 24 + 128, 24 + 128)).resize((64, 64)), np.int16)
        assert np.abs(first - np.asarray(told, np.int16)).mean() < 12
    page = (folder / "evaluation/report.html").read_text()
    assert page.index("Step 0") < page.index("Step 6")


def test_the_first_of_two_workers_draws_what_one_draws(root: Path, tmp_path: Path) -> None:
    steps = SAMPLED | {"steps": 2}
    alone = tiny_share(root, training=steps, output={"uri": "alone"})
    train(alone, Listener())
    share = tiny_share(root, training=steps, output={"uri": "two"})
    in_workers(2, tmp_path / "meeting", lambda rank: train(share, Listener(), rank=rank, world=2))
    assert sample_steps(share.store) == sample_steps(alone.store)
    assert sheet(share.store, 0) == sheet(alone.store, 0)


def test_what_keeps_pictures_from_being_drawn_is_told_and_training_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise errors.pop()

    monkeypatch.setattr(Painter, "_pictures", refuse)
    errors = [StoreUnwritable("runs: no space is left."), torch.OutOfMemoryError()]
    listener = Listener()
    loop = build_loop(tiny_share(root, training=SAMPLED | {"steps": 2}, output={"uri": "refused"}), CPU, listener)
    loop.report_every_s = 0
    assert loop.run()
    assert list(dict.fromkeys(progress.remark for progress in listener.told if progress.remark)) == [
        "No pictures of step 0: the GPU's memory is too small to draw beside training.",
        "No pictures of step 2: runs: no space is left.",
    ]
