"""The training loop in a bare process: what it learns, how it goes on, what it refuses."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from diptych_api.errors import CheckpointCorrupt, NaNLoss
from diptych_training.building import build_loop
from diptych_training.checkpoint import load, newest
from diptych_training.saving import restore
from support.bare_runs import CPU, Listener, same_weights, train
from support.tiny_jobs import tiny_share, write_pictures

pytestmark = pytest.mark.slow


def test_loss_falls_and_only_the_adapter_changes(tmp_path: Path) -> None:
    """Overfit twelve pictures; the frozen digest is checked by the loop itself."""
    listener = Listener()
    share = tiny_share(tmp_path, training={"steps": 60, "validation": {"everySteps": 60}})
    loop = train(share, listener)
    assert listener.validations()[60] < listener.validations()[0]
    assert all("lora_" in name for name in loop.trainee.parameters)


def test_trap_13_stop_and_go_on_equals_an_undisturbed_run(tmp_path: Path) -> None:
    """Losses of every step and final weights are bitwise equal."""
    whole, part, rest = Listener(), Listener(stop_at=3), Listener()
    undisturbed = train(tiny_share(tmp_path / "a"), whole)
    share = tiny_share(tmp_path / "b")
    stopped = train(share, part)
    assert stopped.step < 6
    resumed = train(share, rest, go_on=True)
    assert part.losses() | rest.losses() == whole.losses()
    assert part.validations() | rest.validations() == whole.validations()
    assert same_weights(undisturbed, resumed)


@pytest.mark.parametrize("step", [3, 6])
def test_a_stop_is_heard_during_a_validation_which_the_resume_does(tmp_path: Path, step: int) -> None:
    """After step 3, and after the last one: the loss curves are those of an undisturbed run, bit for bit."""
    whole, part, rest = Listener(), Listener(stop_at=step), Listener()
    undisturbed = train(tiny_share(tmp_path / "a"), whole)
    share = tiny_share(tmp_path / "b")
    stopped = train(share, part)
    assert (stopped.step, step in part.validations()) == (step, False)
    resumed = train(share, rest, go_on=True)
    assert part.losses() | rest.losses() == whole.losses()
    assert part.validations() | rest.validations() == whole.validations()
    assert same_weights(undisturbed, resumed)


def test_a_stop_during_the_first_validation_ends_the_run_before_a_step(tmp_path: Path) -> None:
    share, listener = tiny_share(tmp_path), Listener(stop_at=0)
    loop = train(share, listener)
    assert (loop.step, listener.losses(), listener.validations()) == (0, {}, {})
    assert newest(share.store, print) is None


@pytest.mark.parametrize("micro", [1, 3])
def test_trap_11_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path: Path, micro: int) -> None:
    """A batch of 4 cut into 1s, or into 3 and 1, learns the same."""
    whole, cut = Listener(), Listener()
    train(tiny_share(tmp_path, output={"uri": "whole"}), whole)
    train(tiny_share(tmp_path, output={"uri": "cut"}, training={"microBatchSize": micro}), cut)
    assert list(cut.losses().values()) == pytest.approx(list(whole.losses().values()), rel=1e-5)


def test_buckets_are_learned_from_and_gone_on_with_exactly(tmp_path: Path) -> None:
    """Pictures of three shapes, some in one step: bitwise the same after a stop."""
    pictures = write_pictures(tmp_path / "pictures")
    for number, path in enumerate(sorted((pictures / "images").iterdir())):
        with Image.open(path) as picture:
            picture.resize(((64, 64), (128, 72), (72, 128))[number % 3]).save(path)
    buckets = {"image": {"aspectBuckets": {"step": 16}}, "source": {"uri": str(pictures)}, "split": {"count": 5}}
    whole, part, rest = Listener(), Listener(stop_at=3), Listener()
    undisturbed = train(tiny_share(tmp_path / "a", dataset=buckets), whole)
    shapes = [{visit.shape for visit in undisturbed.order.batch(step, 4)} for step in range(6)]
    assert set().union(*shapes) == {(64, 64), (80, 48), (48, 80)}
    share = tiny_share(tmp_path / "b", dataset=buckets)
    train(share, part)
    resumed = train(share, rest, go_on=True)
    assert part.losses() | rest.losses() == whole.losses()
    assert part.validations() | rest.validations() == whole.validations()
    assert same_weights(undisturbed, resumed)


@pytest.mark.parametrize("off", ["cacheLatents", "cacheTextEmbeddings"])
def test_what_is_not_cached_gives_the_same_losses(tmp_path: Path, off: str) -> None:
    cached, live = Listener(), Listener()
    flips = {"dataset": {"image": {"horizontalFlip": True}}}
    train(tiny_share(tmp_path, output={"uri": "cached"}, **flips), cached)
    shutil.rmtree(tmp_path / "cache")
    share = tiny_share(tmp_path, output={"uri": "live"}, training={off: False}, **flips)
    train(share, live)
    assert live.losses() == cached.losses()
    assert live.validations() == cached.validations()


def test_nan_loss_names_step_samples_and_last_good_checkpoint(tmp_path: Path) -> None:
    """A weight that is not a number ends the run before the broken state is saved."""
    share = tiny_share(tmp_path)
    loop = build_loop(share, CPU, Listener())
    next(iter(loop.trainee.parameters.values())).data.fill_(float("nan"))
    loop.held_out = []
    with pytest.raises(NaNLoss, match=r"step 1; samples of that step: images/.*no checkpoint was saved"):
        loop.run()
    assert newest(share.store, print) is None


def test_early_stop_keeps_the_best_checkpoint(tmp_path: Path) -> None:
    """A learning rate that ruins the weights: the run stops and the best step can be loaded."""
    changes: dict[str, Any] = {
        "steps": 50,
        "learningRate": 0.5,
        "ema": {"enabled": False},
        "validation": {"everySteps": 1},
        "earlyStopping": {"enabled": True, "patience": 2},
    }
    share = tiny_share(tmp_path, training=changes)
    loop = train(share, Listener())
    assert loop.step < 50
    assert loop.standing.without_improvement == 3
    if loop.standing.best_step:
        assert load(share.store, loop.standing.best_step).meta["step"] == loop.standing.best_step


def test_checkpoint_of_another_job_is_refused(tmp_path: Path) -> None:
    """The message names what differs."""
    share = tiny_share(tmp_path)
    train(share, Listener())
    found = newest(share.store, print)
    assert found is not None
    with pytest.raises(CheckpointCorrupt, match="another data set"):
        restore(build_loop(share, CPU, Listener()), found[1], {**share.identity, "data set": "other"})


def test_text_encoder_and_new_unet_learn_together(tmp_path: Path) -> None:
    """FromScratch: both modules move, from weights that the seed decides."""
    unet = {
        "blockOutChannels": [32, 64],
        "downBlockTypes": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "upBlockTypes": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "layersPerBlock": 1,
        "crossAttentionDim": 32,
        "attentionHeadDim": 4,
        "normNumGroups": 8,
    }
    share = tiny_share(tmp_path, method="FromScratch", unet=unet, training={"trainTextEncoder": True})
    first = {k: v.clone() for k, v in build_loop(share, CPU, Listener()).trainee.parameters.items()}
    again = build_loop(share, CPU, Listener()).trainee.parameters
    assert all(torch.equal(first[name], again[name]) for name in first)
    loop = train(share, Listener())
    moved = {name.split(".")[0] for name, p in loop.trainee.parameters.items() if not torch.equal(p, first[name])}
    assert moved == {"unet", "text_encoder"}
