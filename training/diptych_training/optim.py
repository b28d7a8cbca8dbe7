"""The optimiser, its learning rate and the average of the weights. Every count is in optimiser steps."""

import importlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Parameter

from diptych_api.errors import CheckpointCorrupt
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.training import EMA, Training
from diptych_training.equipment import EIGHT_BIT, has


def learning_rate(training: Training, total_steps: int, step: int) -> float:
    """Return the learning rate of optimiser step ``step``, counted from 0: linear warm-up, then the schedule."""
    peak, warmup = training.learning_rate, training.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if training.lr_schedule == "Constant":
        return peak
    spent = (step - warmup) / max(1, total_steps - warmup)
    if training.lr_schedule == "Linear":
        return peak * max(0.0, 1 - spent)
    return peak * (0.5 + 0.5 * math.cos(math.pi * min(1.0, spent)))


def build_optimizer(spec: FineTuneJobSpec, parameters: Mapping[str, Parameter]) -> torch.optim.Optimizer:
    """Return AdamW over the parameters in the order of their names.

    With LoRA+ (arXiv 2402.12354) the B of each layer are a group of their own; a group's ``ratio`` is its learning rate
    over that of the step. AdamW in 8 bits (arXiv 2110.02861) is bitsandbytes', where it is installed.
    """
    settings = spec.training.optimizer
    faster = spec.lora.lora_plus_ratio if spec.method == "LoRA" else 1.0
    groups: dict[float, list[Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(faster if ".lora_B." in name else 1.0, []).append(parameter)
    options: dict[str, Any] = {
        "lr": spec.training.learning_rate,
        "betas": settings.betas,
        "eps": settings.epsilon,
        "weight_decay": settings.weight_decay,
    }
    kinds = [{"params": group, "ratio": ratio} for ratio, group in groups.items()]
    if settings.name == "AdamW8bit" and has(EIGHT_BIT):
        return cast("torch.optim.Optimizer", importlib.import_module(EIGHT_BIT).optim.AdamW8bit(kinds, **options))
    return torch.optim.AdamW(kinds, fused=_fits_one_kernel(spec, parameters) or None, **options)


def _fits_one_kernel(spec: FineTuneJobSpec, parameters: Mapping[str, Parameter]) -> bool:
    """Whether PyTorch's fused kernel may do the update.

    On a CPU it heeds no memory format, so it is for plain matrices there. It takes no count of workers that overflow,
    as sharding in fp16 makes one.
    """
    if spec.training.precision == "fp16" and spec.training.sharding != "None":
        return False
    return all(p.is_cuda or p.is_contiguous() for p in parameters.values())


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the learning rate of the step times its own ratio."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["ratio"]


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """Return the optimiser's state as tensors on the CPU, named ``<parameter>/<moment>``."""
    return {
        f"{name}/{moment}": torch.as_tensor(value).detach().cpu().clone()
        for name, parameter in parameters.items()
        for moment, value in optimizer.state[parameter].items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what ``optimizer_tensors`` returned; tensors of other parameters are another worker's.

    Raises:
        CheckpointCorrupt: when another kind of optimiser left the state.

    """
    kind = type(optimizer).__name__
    left_by = "AdamW8bit" if any(key.endswith("/state1") for key in tensors) else "AdamW"
    if tensors and left_by != kind:
        raise CheckpointCorrupt(
            f"The checkpoint was made with {left_by}, and {kind} is used here.",
            hint=f"Go on where {EIGHT_BIT} is as it was, installed or not; or give the job another name to start over.",
        )
    for key, value in tensors.items():
        name, moment = key.rsplit("/", 1)
        if (parameter := parameters.get(name)) is not None:
            in_int = moment == "step" and kind == "AdamW8bit"
            optimizer.state[parameter][moment] = int(value) if in_int else _laid_out(value, parameter)


def _laid_out(value: Tensor, parameter: Parameter) -> Tensor:
    """Return a copy beside the parameter and, where it has its shape, in its memory format."""
    if value.shape != parameter.shape:
        return value.to(parameter.device).clone()
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


class Average:
    """Exponential moving average of the trained weights in fp32.

    The decay of update t, counted from 0, is min(decay, (1 + t) / (10 + t)), so that a short run does not keep its
    first weights.
    """

    def __init__(self, ema: EMA, parameters: Mapping[str, Parameter]) -> None:
        self.decay = ema.decay if ema.enabled else 0.0
        self.parameters = parameters
        self.updates = 0
        self.shadow = {name: p.detach().clone().float() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one optimiser step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        shadow, fresh = list(self.shadow.values()), [p.detach() for p in self.parameters.values()]
        torch._foreach_lerp_(shadow, fresh, 1 - decay)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run the body with the average in place of the weights; they come back even when the body fails."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._copy(self.shadow)
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[name])
