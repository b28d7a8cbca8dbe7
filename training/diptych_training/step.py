"""The training step: plain functions on tensors, importable without Ray.

Shape letters: B samples, C latent channels, H and W latent sides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from diptych_diffusion.lora_dropout import set_dropout_keys
from diptych_training.batch import Batch
from diptych_training.sharding import Shards
from diptych_training.stopwatch import Lap, untimed
from diptych_training.trainee import Trainee


def sample_losses(trainee: Trainee, batch: Batch, lap: Lap = untimed) -> Tensor:
    """Return the weighted squared error of each sample, fp32 ``[B]``, mean over its latent.

    The loss of a sample is w(t) · mean((ε̂(x_t, t, c) − y)²), where y is what the base's prediction type asks for
    (Ho et al., arXiv 2006.11239; v: Salimans and Ho, arXiv 2202.00512).
    """
    if trainee.has_dropout:
        for network in filter(None, (trainee.unet, trainee.text_encoder)):
            set_dropout_keys(network, batch.keys_B)
    device_type, dtype = trainee.device.type, trainee.compute_dtype
    with torch.autocast(device_type, dtype=dtype, enabled=dtype != torch.float32):
        with lap("text"):
            text = batch.text if trainee.text_encoder is None else trainee.text_encoder(batch.text)[0]
        with lap("unet"):
            predicted = trainee.unet(batch.noisy_BCHW.to(dtype), batch.t_B, text.to(dtype), return_dict=False)[0]
    loss_B: Tensor = (predicted.float() - batch.target_BCHW).square().mean((1, 2, 3)) * batch.weight_B
    return loss_B


@dataclass(frozen=True, slots=True)
class StepResult:
    """Figures of one optimiser step, left on the device so that nothing waits for them."""

    loss: Tensor
    grad_norm: Tensor
    stop: Tensor
    """Above 0 when any worker was asked to stop."""


def accumulate(trainee: Trainee, update: "Update", batches: Iterable[Batch]) -> Tensor:
    """Add the gradients of these micro-batches and return the sum of their losses over ``update.global_size``.

    Dividing by the number of samples of the whole step, not by the number of micro-batches, gives the same gradient
    however the batch is cut, last short piece included.
    """
    total = torch.zeros((), device=trainee.device)
    for batch in batches:
        with update.lap("data"):
            here = batch.to(trainee.device)
        loss = sample_losses(trainee, here, update.lap).sum() / update.global_size
        with update.lap("unet"):
            update.scaler.scale(loss).backward()
        total += loss.detach()
    return total


def reduce_gradients(parameters: Sequence[Parameter], extra: Tensor) -> Tensor:
    """Sum the gradients and ``extra`` over all workers in one message; return the summed ``extra``."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return extra
    for parameter in parameters:
        if parameter.grad is None:  # a worker without samples in this step
            parameter.grad = torch.zeros_like(parameter)
    if not parameters:
        dist.all_reduce(extra)
        return extra
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([*(g.reshape(-1) for g in grads), extra])
    dist.all_reduce(flat)
    *summed, extra = flat.split([*(g.numel() for g in grads), extra.numel()])
    torch._foreach_copy_(grads, [s.view_as(g) for s, g in zip(summed, grads, strict=True)])
    return extra


@dataclass(frozen=True, slots=True)
class Update:
    """How gradients become an optimiser step."""

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    global_size: int
    """Samples of one step over all workers and micro-batches."""
    max_grad_norm: float
    shards: Shards | None = None
    """This worker's share of gradients and moments; None where each worker has all of them."""
    lap: Lap = untimed


def training_step(trainee: Trainee, update: Update, batches: Sequence[Batch], *, stop: bool = False) -> StepResult:
    """Do one optimiser step: accumulate, sum over workers, clip once, update.

    With fp16 the update is skipped when the scaled gradients overflow.
    """
    parameters, shards = list(trainee.parameters.values()), update.shards
    update.optimizer.zero_grad(set_to_none=True)
    if shards is not None:
        batches = shards.in_step(list(batches), trainee.device)
    loss = accumulate(trainee, update, batches)
    extra = torch.stack([loss, torch.full_like(loss, float(stop))])
    with update.lap("exchange"):
        extra = reduce_gradients(parameters if shards is None else (), extra)
    with update.lap("optimiser"):
        norm = _clip(update, parameters)
        update.scaler.step(update.optimizer)
        update.scaler.update()
    if shards is not None:
        with update.lap("exchange"):
            shards.spread_weights()
    return StepResult(loss=extra[0], grad_norm=norm, stop=extra[1])


def _clip(update: Update, parameters: Sequence[Parameter]) -> Tensor:
    """Scale the gradient of all parameters together down to the norm that is allowed; return the norm it had."""
    if update.shards is None:
        update.scaler.unscale_(update.optimizer)
        return torch.nn.utils.clip_grad_norm_(parameters, update.max_grad_norm)
    update.shards.take_gradients()
    update.scaler.unscale_(update.optimizer)
    norm = update.shards.norm()
    torch.nn.utils.clip_grads_with_norm_(update.shards.mine.values(), update.max_grad_norm, norm)
    return norm
