"""The optimiser, its learning rate and the average of the weights. Every count is in optimiser steps."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

from diptych_api.errors import UnsupportedHere
from diptych_api.training import EMA, Training


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


def build_optimizer(training: Training, parameters: Mapping[str, Parameter]) -> torch.optim.AdamW:
    """Return AdamW over the parameters in the order of their names.

    Raises:
        UnsupportedHere: for 8-bit AdamW, which comes with a later version.

    """
    if training.optimizer.name != "AdamW":
        raise UnsupportedHere(
            f"spec.training.optimizer.name: {training.optimizer.name} is not supported yet.", hint="Use AdamW."
        )
    on_gpu = any(p.is_cuda for p in parameters.values())
    return torch.optim.AdamW(
        list(parameters.values()),
        lr=training.learning_rate,
        betas=training.optimizer.betas,
        eps=training.optimizer.epsilon,
        weight_decay=training.optimizer.weight_decay,
        fused=on_gpu or None,
    )


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
    """Put back what ``optimizer_tensors`` returned."""
    for key, value in tensors.items():
        name, moment = key.rsplit("/", 1)
        parameter = parameters[name]
        place = value if moment == "step" and not parameter.is_cuda else value.to(parameter.device)
        optimizer.state[parameter][moment] = place.clone()


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
