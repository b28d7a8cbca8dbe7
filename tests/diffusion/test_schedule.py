from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from diptych_api.errors import BaseInvalid
from diptych_diffusion.schedule import LossWeighting, NoiseSchedule, PredictionType

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
ZERO_SNR = {**SD, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
CONFIGS: list[dict[str, Any]] = [
    SD,
    {**SD, "beta_schedule": "linear", "prediction_type": "sample"},
    {**SD, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
    {**SD, "trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3},
    ZERO_SNR,
]


def batch(size: int = 64, steps: int = 1000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, size, 4, 8, 8, generator=generator)
    t = torch.linspace(0, steps - 1, size).long()
    return x0, noise, t


@pytest.mark.parametrize("config", CONFIGS)
def test_noise_and_velocity_equal_those_of_diffusers(config: dict[str, Any]) -> None:
    schedule, theirs = NoiseSchedule.from_config(config), DDPMScheduler(**config)
    x0, noise, t = batch(steps=schedule.num_train_timesteps)
    assert torch.equal(schedule.alphas_cumprod_T, theirs.alphas_cumprod)
    assert torch.allclose(schedule.add_noise(x0, noise, t), theirs.add_noise(x0, noise, t), rtol=0, atol=1e-6)
    if schedule.prediction_type == "v_prediction":
        assert torch.allclose(schedule.target(x0, noise, t), theirs.get_velocity(x0, noise, t), rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_perfect_prediction_gives_back_the_picture(config: dict[str, Any]) -> None:
    schedule = NoiseSchedule.from_config(config)
    x0, noise, t = batch(steps=schedule.num_train_timesteps)
    x_t, target = schedule.add_noise(x0, noise, t), schedule.target(x0, noise, t)
    # For epsilon the division by √ᾱ magnifies the rounding of x_t: 15-fold at SD's last timestep.
    tolerance = 1e-4 if schedule.prediction_type == "epsilon" else 1e-6
    assert torch.allclose(schedule.predict_x0(x_t, target, t), x0, rtol=0, atol=tolerance)


def test_trap_6_picture_and_noise_both_follow_from_v_to_one_millionth() -> None:
    schedule = NoiseSchedule.from_config({**SD, "prediction_type": "v_prediction"})
    x0, noise, t = (x.double() if x.is_floating_point() else x for x in batch())
    alpha_bar = schedule.alphas_cumprod_T.double()[t].view(-1, 1, 1, 1)
    x_t, v = schedule.add_noise(x0, noise, t), schedule.target(x0, noise, t)
    assert torch.allclose(v.double(), alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * x0, rtol=0, atol=1e-6)
    assert torch.allclose(alpha_bar.sqrt() * x_t - (1 - alpha_bar).sqrt() * v, x0, rtol=0, atol=1e-6)
    assert torch.allclose((1 - alpha_bar).sqrt() * x_t + alpha_bar.sqrt() * v, noise, rtol=0, atol=1e-6)


def test_trap_3_bfloat16_inputs_do_not_collapse_the_schedule() -> None:
    schedule = NoiseSchedule.from_config(SD)
    x0, noise, _ = batch(2)
    t = torch.tensor([0, 1])
    noisy = schedule.add_noise(x0.bfloat16(), noise.bfloat16(), t)
    assert noisy.dtype == schedule.target(x0.bfloat16(), noise.bfloat16(), t).dtype == torch.float32
    added = noisy - schedule.alphas_cumprod_T[t].sqrt().view(-1, 1, 1, 1) * x0.bfloat16().float()
    assert added.std((1, 2, 3)) == pytest.approx((1 - schedule.alphas_cumprod_T[t]).sqrt(), rel=0.1)
    theirs = DDPMScheduler(**SD).add_noise(x0.bfloat16(), noise.bfloat16(), t)
    assert torch.equal(theirs, x0.bfloat16()), "diffusers adds no noise at all here; if it does now, relax the trap"


def test_trap_5_weights_are_finite_where_the_picture_is_gone() -> None:
    schedule = NoiseSchedule.from_config(ZERO_SNR)
    assert schedule.zero_terminal_snr
    t = torch.arange(1000)
    assert schedule.snr(t)[-1] == 0
    kinds: tuple[LossWeighting, ...] = ("None", "MinSNR", "Debiased")
    for kind in kinds:
        weights = schedule.loss_weight(t, kind)
        assert weights.isfinite().all()
        assert (weights >= 0).all()


@pytest.mark.parametrize("kind", ["MinSNR", "Debiased"])
def test_a_weighting_means_the_same_objective_for_every_prediction_type(kind: LossWeighting) -> None:
    x0, noise, t = batch()
    wrong_x0 = x0 + 0.1 * torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    errors = []
    predictions: tuple[PredictionType, ...] = ("epsilon", "v_prediction", "sample")
    for prediction_type in predictions:
        schedule = NoiseSchedule.from_config({**SD, "prediction_type": prediction_type})
        alpha_bar = schedule.alphas_cumprod_T[t].view(-1, 1, 1, 1)
        x_t = schedule.add_noise(x0, noise, t)
        implied_noise = (x_t - alpha_bar.sqrt() * wrong_x0) / (1 - alpha_bar).sqrt()
        output = schedule.target(wrong_x0, implied_noise, t)
        squared = (output - schedule.target(x0, noise, t)).square().mean((1, 2, 3))
        errors.append(squared * schedule.loss_weight(t, kind, gamma=5.0))
    assert torch.allclose(errors[0], errors[2], rtol=1e-3)
    assert torch.allclose(errors[1], errors[2], rtol=1e-3)


def test_min_snr_bounds_the_weight_of_early_timesteps_by_gamma() -> None:
    schedule = NoiseSchedule.from_config(SD)
    t = torch.tensor([0, 999])
    snr = schedule.snr(t)
    assert schedule.loss_weight(t, "MinSNR", gamma=5.0).tolist() == pytest.approx([5.0 / float(snr[0]), 1.0])
    assert schedule.loss_weight(t, "None").tolist() == [1.0, 1.0]


def test_epsilon_with_zero_terminal_snr_is_refused_with_a_way_out() -> None:
    with pytest.raises(BaseInvalid, match="zero terminal SNR") as caught:
        NoiseSchedule.from_config({**ZERO_SNR, "prediction_type": "epsilon"})
    assert "v_prediction" in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"prediction_type": "flow"},
        {"beta_schedule": "sigmoid"},
        {"beta_schedule": 3},
        {"beta_start": "x"},
        {"beta_end": 7.0},
        {"trained_betas": [2.0]},
        {"num_train_timesteps": 0},
        {"num_train_timesteps": 10**12},
    ],
)
def test_configs_that_describe_no_schedule_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BaseInvalid, match="The base's scheduler"):
        NoiseSchedule.from_config({**SD, **wrong})


def test_the_table_moves_with_the_schedule() -> None:
    schedule = NoiseSchedule.from_config(SD)
    assert schedule.to("meta").alphas_cumprod_T.device.type == "meta"
    assert schedule.alphas_cumprod_T.device.type == "cpu"
