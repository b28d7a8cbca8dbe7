"""The training loop in a bare process: what it learns, how it goes on, what it refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn import Parameter

from diptych_api.errors import CheckpointCorrupt, NaNLoss, RunFailed
from diptych_training.building import build_loop
from diptych_training.checkpoint import CheckpointWriter, newest
from diptych_training.letters import Progress
from diptych_training.saving import Keeper, final_state, restore
from diptych_training.step import sample_losses
from support.bare_runs import CPU, Listener, in_workers, same_weights, train
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


def ruin_weight(weight: Parameter) -> None:
    weight.data.fill_(float("nan"))


def ruin_gradient(weight: Parameter) -> None:
    weight.register_hook(lambda gradient: gradient * float("nan"))


@pytest.mark.parametrize(("ruin", "what"), [(ruin_weight, "loss"), (ruin_gradient, "gradient")])
def test_what_is_not_a_number_names_step_samples_and_last_good_checkpoint(
    tmp_path: Path, ruin: Callable[[Parameter], None], what: str
) -> None:
    """The run ends before the broken state is saved."""
    share = tiny_share(tmp_path, training={"checkpoint": {"everySteps": 1}})
    loop = build_loop(share, CPU, Listener())
    ruin(next(iter(loop.trainee.parameters.values())))
    loop.held_out = []
    message = rf"The {what} became nan at step 1; samples of that step: images/.*no checkpoint was saved"
    with CheckpointWriter(share.store, keep=1) as writer:
        loop.keeper = Keeper(writer, share.identity)
        with pytest.raises(NaNLoss, match=message):
            loop.run()
    assert newest(share.store, print) is None


EARLY: dict[str, Any] = {
    "steps": 50,
    "learningRate": 0.1,
    "ema": {"enabled": False},
    "validation": {"everySteps": 1},
    "earlyStopping": {"enabled": True, "patience": 2, "minDelta": 0.02},
}
"""So fast that the loss soon falls no more: a run stops three steps after its best one."""


def test_an_early_stop_leaves_the_weights_of_the_best_step(tmp_path: Path) -> None:
    """Those of a run that ended there; its checkpoint outlives a retention of one."""
    share = tiny_share(tmp_path, training=EARLY)
    stopped = train(share, Listener(), keep=1)
    best = stopped.standing.best_step
    assert 0 < best == stopped.step - 3
    until_then = tiny_share(tmp_path, training=EARLY | {"steps": best}, output={"uri": "short"})
    expected = train(until_then, Listener()).average.shadow
    left = final_state(share.store, share.spec.training).groups["average"]
    assert left.keys() == expected.keys()
    assert all(torch.equal(left[name], tensor) for name, tensor in expected.items())
    assert not any(torch.equal(left[name], tensor) for name, tensor in stopped.average.shadow.items())


def test_two_workers_stop_early_at_the_same_step(tmp_path: Path) -> None:
    share = tiny_share(tmp_path, training=EARLY)

    def work(rank: int) -> None:
        loop = train(share, Listener(), rank=rank, world=2)
        (tmp_path / f"{rank}.txt").write_text(f"{loop.step} {loop.standing}")

    in_workers(2, tmp_path / "meeting", work)
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in range(2))
    assert first == second
    assert int(first.split()[0]) < EARLY["steps"]


def test_validation_is_of_the_averaged_weights_over_every_stratum_of_timesteps(tmp_path: Path) -> None:
    listener = Listener()
    loop = train(tiny_share(tmp_path, training={"validation": {"draws": 4}}), listener)
    batches = [loop.maker.validation(loop.held_out, draw, 4) for draw in range(4)]
    for draw, batch in enumerate(batches):
        assert torch.equal(batch.t_B // 250, torch.full((4,), draw))
    assert len(torch.cat([batch.t_B for batch in batches]).unique()) == 16

    @torch.no_grad()
    def loss() -> float:
        loop.trainee.train(on=False)
        return float(torch.stack([sample_losses(loop.trainee, batch) for batch in batches]).mean())

    raw = loss()
    for name, parameter in loop.trainee.parameters.items():
        parameter.data.copy_(loop.average.shadow[name])
    assert listener.validations()[loop.step] == pytest.approx(loss(), rel=1e-6)
    assert listener.validations()[loop.step] != pytest.approx(raw, rel=1e-4)


def test_a_frozen_weight_that_changes_by_one_bit_ends_the_run(tmp_path: Path) -> None:
    def nudge(progress: Progress) -> bool:
        if progress.step == 3:
            _, frozen = next(loop.trainee.frozen())
            one = frozen.detach().view(-1)[:1]
            one.copy_(torch.nextafter(one, torch.ones(1)))
        return False

    loop = build_loop(tiny_share(tmp_path), CPU, nudge)
    loop.report_every_s = 0
    with pytest.raises(RunFailed, match="A frozen weight changed while training"):
        loop.run()
    assert loop.step == loop.total_steps


def test_half_precision_goes_on_exactly_with_the_scale_of_its_gradients(tmp_path: Path) -> None:
    """The scaler counts steps until it grows: a resume has counted all of them."""
    whole, part, rest = Listener(), Listener(stop_at=3), Listener()
    half = {"precision": "fp16"}
    undisturbed = train(tiny_share(tmp_path, training=half, output={"uri": "whole"}), whole)
    share = tiny_share(tmp_path, training=half)
    train(share, part)
    resumed = train(share, rest, go_on=True)
    assert part.losses() | rest.losses() == whole.losses()
    assert same_weights(undisturbed, resumed)
    assert resumed.scaler.state_dict() == undisturbed.scaler.state_dict()
    assert undisturbed.scaler.state_dict()["_growth_tracker"] == 6


def test_half_precision_skips_steps_whose_gradients_overflow_and_halves_the_scale(tmp_path: Path) -> None:
    """Their rows tell no gradient: a file of JSON has no word for one that is not finite."""
    listener = Listener()
    loop = build_loop(tiny_share(tmp_path, training={"precision": "fp16", "steps": 2}), CPU, listener)
    loop.scaler.load_state_dict(loop.scaler.state_dict() | {"scale": 2.0**40})
    loop.held_out = []
    before = {name: p.detach().clone() for name, p in loop.trainee.parameters.items()}
    assert loop.run()
    assert all(torch.equal(p, before[name]) for name, p in loop.trainee.parameters.items())
    assert loop.scaler.get_scale() == 2.0**38
    assert [row.grad_norm for progress in listener.told for row in progress.rows] == [None, None]


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
