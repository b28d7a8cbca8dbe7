"""What a worker's device holds while it trains, computed on networks without weights.

Shapes: B samples, C latent channels, h and w latent sides, L tokens, D text width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion.components import Components
from diptych_diffusion.lora_dropout import set_dropout_keys
from diptych_training.trainee import Trainee, build_trainee, compute_dtype

META: Final = torch.device("meta")
GRADIENT, MOMENTS, MOMENTS_8BIT, AVERAGE = 4, 8, 2, 4
"""Bytes for each trained parameter."""
RECOMPUTED: Final = ("ResnetBlock2D", "BasicTransformerBlock")
"""What gradient checkpointing computes anew, one at a time."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by purpose. What CUDA itself takes, and gaps between tensors, are not in it."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    samples: int
    """Samples that go through the UNet at once."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.average + self.activations


def memory_of(spec: FineTuneJobSpec, base: Components) -> tuple[Memory, Trainee]:
    """Return the memory of one worker of a job and what it trains; ``base`` is a skeleton and is changed."""
    plain = _plain(spec)
    training, workers = plain.training, plain.resources.workers
    with META:
        trainee = build_trainee(plain, base, META)
    trained = sum(parameter.numel() for parameter in trainee.parameters.values())
    share = trained // (workers if training.sharding != "None" else 1)
    per_worker = -(-training.batch_size // workers)
    samples = min(training.micro_batch_size or per_worker, per_worker)
    weights = sum(map(_bytes, filter(None, (trainee.unet, trainee.text_encoder))))
    if not training.cache_latents:
        weights += _bytes(base.vae)
    moments = MOMENTS_8BIT if training.optimizer.name == "AdamW8bit" else MOMENTS
    activations = _activations(plain, trainee, base, samples, checkpointing=spec.training.gradient_checkpointing)
    memory = Memory(weights, GRADIENT * share, moments * share, AVERAGE * trained, activations, samples)
    return memory, trainee


def _plain(spec: FineTuneJobSpec) -> FineTuneJobSpec:
    """Return the job as it is computed without weights: precision decided, nothing fused, nothing loaded."""
    training = spec.training
    precision = training.precision
    if precision == "auto":
        precision = "bf16" if spec.resources.gpus_per_worker else "fp32"
    changes = {"precision": precision, "compile": "Off", "gradient_checkpointing": False}
    if training.attention == "xformers":
        changes["attention"] = "auto"
    return spec.model_copy(
        update={
            "training": training.model_copy(update=changes),
            "lora": spec.lora.model_copy(update={"init_from": None}),
        }
    )


def _activations(
    spec: FineTuneJobSpec, trainee: Trainee, base: Components, samples: int, *, checkpointing: bool
) -> int:
    """Return the bytes that a forward pass of the UNet keeps for the backward pass, at its peak."""
    dtype = compute_dtype(spec.training.precision, META)
    unet: Any = trainee.unet
    copies = 0
    if spec.method != "LoRA" and dtype != torch.float32:
        copies = sum(p.numel() for p in unet.parameters()) * dtype.itemsize  # autocast keeps them until the step's end
        unet.to(dtype)
    unet.train()
    if trainee.has_dropout:
        set_dropout_keys(unet, torch.zeros(samples, dtype=torch.int64, device=META))
    side = spec.dataset.image.size // base.pixels_per_latent
    noisy_BChw = torch.empty(samples, base.latent_channels, side, side, dtype=dtype, device=META)
    text_BLD = torch.empty(samples, base.max_tokens, base.embedding_dim, dtype=dtype, device=META)
    t_B = torch.empty(samples, dtype=torch.int64, device=META)

    def forward() -> None:
        unet(noisy_BChw, t_B, text_BLD, return_dict=False)

    kept, largest = saved_bytes(unet, forward)
    if not checkpointing:
        return kept + copies
    unet.enable_gradient_checkpointing()
    return saved_bytes(unet, forward)[0] + largest + copies


def saved_bytes(network: nn.Module, forward: Callable[[], None]) -> tuple[int, int]:
    """Return the bytes that a forward pass keeps for the backward pass, and those of its largest block alone."""
    weights = {_identity(tensor) for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no other storage gets its identity
    grown: list[int] = [0]
    total = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        identity = _identity(tensor)
        if identity not in weights and identity not in kept:
            kept[identity] = tensor.untyped_storage()
            total += kept[identity].nbytes()
        return tensor

    starts: dict[nn.Module, int] = {}
    handles = []
    for module in network.modules():
        if type(module).__name__ in RECOMPUTED:
            handles += [
                module.register_forward_pre_hook(lambda module, _: starts.update({module: total})),
                module.register_forward_hook(lambda module, *_: grown.append(total - starts[module])),
            ]
    with saved_tensors_hooks(keep, lambda tensor: tensor), _FusedAttention():
        forward()
    for handle in handles:
        handle.remove()
    return total, max(grown)


def _identity(tensor: Tensor) -> int:
    """Return what tensors share that look at the same memory, also where there is none."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 -- data_ptr is 0 for all of them


class _FusedAttention(TorchFunctionMode):
    """Attention as GPUs and CPUs compute it: what is kept is inputs, output and one sum a row, no square matrix."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 -- of torch
        if func is functional.scaled_dot_product_attention and args[0].is_meta:
            return cast("Any", _Fused).apply(*args[:3])
        return func(*args, **(kwargs or {}))


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # noqa: ANN401 -- of torch
        batch, heads, tokens, _ = q.shape
        output = q.new_empty((batch, tokens, heads, v.shape[-1])).transpose(1, 2)  # in the order of real kernels
        ctx.save_for_backward(q, k, v, output, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return output


def _bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
