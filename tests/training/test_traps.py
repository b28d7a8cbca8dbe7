"""Mistakes that trainers are known for, each with the figure that would show it; others are named alike elsewhere."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import Parameter

from diptych_api.training import EMA
from diptych_diffusion.draws import noise
from diptych_training.building import build_loop
from diptych_training.optim import Average
from diptych_training.share import Share
from diptych_training.step import training_step
from support.bare_runs import CPU, Listener
from support.tiny_jobs import tiny_share, write_pictures
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

SCALE, SHIFT = 0.5, 0.25
"""Of a VAE that is not Stable Diffusion's."""


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Share:
    root = tmp_path_factory.mktemp("traps")
    config = make_pipeline(root / "base") / "vae/config.json"
    values = json.loads(config.read_text()) | {"scaling_factor": SCALE, "shift_factor": SHIFT}
    config.write_text(json.dumps(values))
    write_pictures(root / "pictures")
    return tiny_share(root, training={"captionDropout": 0, "warmupSteps": 2, "lrSchedule": "Linear"})


def test_trap_1_the_gradient_is_clipped_and_its_norm_told(share: Share) -> None:
    """A list of parameters that was used up would leave the gradient as it is and tell zero."""
    loop = build_loop(share, CPU, Listener())
    bound = 1e-3
    update = replace(loop.update, max_grad_norm=bound)
    result = training_step(loop.trainee, update, [loop.maker.training(loop.order.batch(0, 4))])
    left = torch.stack([p.grad.norm() for p in loop.trainee.parameters.values() if p.grad is not None]).norm()
    assert result.grad_norm > bound
    assert float(left) == pytest.approx(bound, rel=1e-3)


def test_trap_4_no_two_samples_share_noise_whichever_worker_has_them(share: Share) -> None:
    """A sample's draws are those of the sample: alone, in a batch, on one of two workers; another epoch has others."""
    loop = build_loop(share, CPU, Listener())
    maker, visits = replace(loop.maker, caption_dropout=0.5), loop.order.batch(0, 4)
    whole, first, second = (maker.training(v) for v in (visits, visits[:2], visits[2:]))
    assert torch.equal(whole.noisy_BCHW, torch.cat([first.noisy_BCHW, second.noisy_BCHW]))
    assert torch.equal(whole.t_B, torch.cat([first.t_B, second.t_B]))
    assert torch.equal(whole.text, torch.cat([first.text, second.text]))
    dropped = [torch.equal(text, maker.text([""])[0]) for text in whole.text]
    assert set(dropped) == {True, False}
    assert len({tensor.sum().item() for tensor in whole.target_BCHW}) == 4
    later = maker.training([replace(visit, epoch=visit.epoch + 1) for visit in visits])
    assert not torch.equal(later.target_BCHW, whole.target_BCHW)


def test_trap_8_latents_are_scaled_and_shifted_as_the_vae_says_and_drawn_anew_at_each_visit(share: Share) -> None:
    loop = build_loop(share, CPU, Listener())
    maker, (visit, *_) = loop.maker, loop.order.batch(0, 1)
    drawn = []
    for epoch in (0, 1):
        batch = maker.training([replace(visit, epoch=epoch)])
        kept = maker.schedule.alphas_cumprod_T[batch.t_B]
        clean = (batch.noisy_BCHW - (1 - kept).sqrt() * batch.target_BCHW) / kept.sqrt()
        mean, logvar = maker.latents.latent(visit.entry.sha256)
        own = noise(mean.shape, maker.seed, epoch, visit.key, "posterior")
        drawn.append((mean + torch.exp(logvar / 2) * own - SHIFT) * SCALE)
        torch.testing.assert_close(clean[0], drawn[-1], rtol=1e-3, atol=1e-3)
    assert not torch.equal(*drawn)


@pytest.mark.parametrize("micro", [None, 1])
def test_trap_12_warm_up_and_decay_count_optimiser_steps(share: Share, micro: int | None) -> None:
    """However the batch is cut: half the rate, all of it, then down to nothing at the end."""
    training = share.spec.training.model_copy(update={"micro_batch_size": micro})
    listener = Listener()
    loop = build_loop(replace(share, spec=share.spec.model_copy(update={"training": training})), CPU, listener)
    loop.held_out = []
    loop.run()
    rates = [row.learning_rate for progress in listener.told for row in progress.rows if row.loss is not None]
    peak = training.learning_rate
    assert rates == pytest.approx([peak / 2, peak, peak, 0.75 * peak, 0.5 * peak, 0.25 * peak])


def test_trap_15_the_average_warms_up_and_gives_the_weights_back() -> None:
    weight = Parameter(torch.zeros(2))
    average = Average(EMA(decay=0.999), {"w": weight})
    weight.data.fill_(1)
    average.update()
    assert average.shadow["w"][0] == pytest.approx(0.9), (
        "after one update a tenth of the start is left, not 0.999 of it"
    )

    def fail() -> None:
        with average.applied():
            assert weight[0] != 1
            raise RuntimeError("while validating")

    with pytest.raises(RuntimeError, match="while validating"):
        fail()
    assert torch.equal(weight, torch.ones_like(weight))
