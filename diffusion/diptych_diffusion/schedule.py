"""The noise schedule that a base was trained with, and the losses that go with it; all of it in float32.

Shapes: B pictures, T timesteps; latents and noise are ``[B, ...]``, timesteps ``t_B`` int64.
Notation (Ho et al., arXiv 2006.11239): x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε, SNR = ᾱ / (1 - ᾱ),
v = √ᾱ_t ε - √(1 - ᾱ_t) x_0 (Salimans and Ho, arXiv 2202.00512).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, get_args

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from diptych_api.errors import BaseInvalid

PredictionType = Literal["epsilon", "v_prediction", "sample"]
LossWeighting = Literal["None", "MinSNR", "Debiased"]
BETA_SCHEDULES: Final = ("linear", "scaled_linear", "squaredcos_cap_v2")
MAX_TIMESTEPS: Final = 100_000
TABLE_KEYS: Final = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """How much noise each timestep carries, and what the UNet is asked to predict."""

    alphas_cumprod_T: Tensor
    prediction_type: PredictionType
    zero_terminal_snr: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the schedule that a diffusers scheduler config describes, with the very table its samplers use.

        Raises:
            BaseInvalid: for a schedule or prediction type that is unknown, or that cannot be learned.

        """
        prediction_type = config.get("prediction_type", "epsilon")
        if prediction_type not in get_args(PredictionType):
            raise BaseInvalid(
                f"The base's scheduler says prediction_type {prediction_type!r}.",
                hint=f"Diptych knows {', '.join(get_args(PredictionType))}.",
            )
        if config.get("beta_schedule", "linear") not in BETA_SCHEDULES:
            raise BaseInvalid(
                f"The base's scheduler says beta_schedule {config['beta_schedule']!r}.",
                hint=f"Diptych knows {', '.join(BETA_SCHEDULES)}.",
            )
        alphas_cumprod_T = _table(config)
        zero_terminal_snr = alphas_cumprod_T[-1].item() == 0
        if zero_terminal_snr and prediction_type == "epsilon":
            raise BaseInvalid(
                "The base predicts epsilon on a schedule with zero terminal SNR, which its last timestep cannot teach.",
                hint="Set prediction_type to v_prediction, or rescale_betas_zero_snr to false (arXiv 2305.08891).",
            )
        return cls(alphas_cumprod_T, prediction_type, zero_terminal_snr)

    @property
    def num_train_timesteps(self) -> int:
        """The number of timesteps, T."""
        return len(self.alphas_cumprod_T)

    def to(self, device: torch.device | str) -> Self:
        """Return the schedule with its table on a device, so that no step copies it there."""
        return replace(self, alphas_cumprod_T=self.alphas_cumprod_T.to(device))

    def add_noise(self, x0: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
        """Return x_t."""
        signal, sigma = self._levels(t_B, x0)
        return signal * x0.float() + sigma * noise.float()

    def target(self, x0: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
        """Return what the UNet should predict for x_t."""
        match self.prediction_type:
            case "epsilon":
                return noise.float()
            case "sample":
                return x0.float()
            case "v_prediction":
                signal, sigma = self._levels(t_B, x0)
                return signal * noise.float() - sigma * x0.float()

    def predict_x0(self, x_t: Tensor, output: Tensor, t_B: Tensor) -> Tensor:
        """Return the clean latents that a prediction for x_t means."""
        signal, sigma = self._levels(t_B, x_t)
        match self.prediction_type:
            case "epsilon":
                return (x_t.float() - sigma * output.float()) / signal
            case "sample":
                return output.float()
            case "v_prediction":
                return signal * x_t.float() - sigma * output.float()

    def snr(self, t_B: Tensor) -> Tensor:
        """Return the signal-to-noise ratio of each timestep; 0 at the end of a zero-terminal-SNR schedule."""
        alpha_bar_B = self._alpha_bar(t_B)
        return alpha_bar_B / (1 - alpha_bar_B)

    def loss_weight(self, t_B: Tensor, kind: LossWeighting, gamma: float = 5.0) -> Tensor:
        """Return the weight of each timestep's squared error; finite wherever the schedule can be learned.

        MinSNR is min(SNR, gamma) on the error of x_0 (arXiv 2303.09556), Debiased its square root of SNR
        (arXiv 2310.08442). One squared error of x_0 is 1 / SNR of epsilon and 1 / (SNR + 1) of v.
        """
        snr_B = self.snr(t_B)
        if kind == "None":
            return torch.ones_like(snr_B)
        if self.prediction_type == "epsilon":
            return (gamma / snr_B).clamp(max=1) if kind == "MinSNR" else snr_B.rsqrt()
        weight_of_x0_B = snr_B.clamp(max=gamma) if kind == "MinSNR" else snr_B.sqrt()
        return weight_of_x0_B / (snr_B + 1) if self.prediction_type == "v_prediction" else weight_of_x0_B

    def _alpha_bar(self, t_B: Tensor) -> Tensor:
        return self.alphas_cumprod_T.to(t_B.device)[t_B]

    def _levels(self, t_B: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha_bar = self._alpha_bar(t_B).view(-1, *[1] * (like.ndim - 1))
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def _table(config: Mapping[str, Any]) -> Tensor:
    """Return ᾱ ``[T]`` float32 as diffusers computes it."""
    steps = config.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 1 <= steps <= MAX_TIMESTEPS:
        raise BaseInvalid(f"The base's scheduler says num_train_timesteps {steps!r}; 1 to {MAX_TIMESTEPS} can be.")
    try:
        scheduler = DDPMScheduler(**{key: config[key] for key in TABLE_KEYS if key in config})
    except (TypeError, ValueError, RuntimeError) as cause:
        raise BaseInvalid(f"The base's scheduler config gives no noise schedule: {cause}") from cause
    alphas_cumprod_T: Tensor = scheduler.alphas_cumprod.float()
    if len(alphas_cumprod_T) != steps or not bool(((alphas_cumprod_T >= 0) & (alphas_cumprod_T < 1)).all()):
        raise BaseInvalid(f"The base's scheduler config does not give {steps} noise levels from 0 to 1.")
    return alphas_cumprod_T
