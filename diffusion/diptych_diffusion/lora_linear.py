"""A linear layer with its LoRA as one step of autograd: y = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ, with W and b frozen.

peft computes the same in more steps: each keeps or copies tensors as large as y, and on a CPU two of its products of a
thin and a long matrix are several times slower than the same products the other way round, which are used here.
"""

from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Gradients = tuple[Tensor | None, Tensor, Tensor, None, None]


class LoraProduct(torch.autograd.Function):
    """Letters of shapes: N rows of the input, I and O its width and that of the output, R the rank.

    Products are in the dtype of W, as autocast would have it; gradients of A and B come in their own, fp32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a_RI: Tensor, b_OR: Tensor, base: nn.Linear, scale: float) -> Tensor:  # noqa: ANN401 -- as torch calls it
        """Return y, ``[..., O]`` for x ``[..., I]``."""
        weight_OI: Tensor = base.weight
        bias_O: Tensor | None = base.bias
        x_NI = x.reshape(-1, x.shape[-1]).to(weight_OI.dtype)
        h_NR = x_NI @ a_RI.to(x_NI.dtype).t()
        y_NO = x_NI @ weight_OI.t() if bias_O is None else torch.addmm(bias_O, x_NI, weight_OI.t())
        y_NO.addmm_(h_NR, b_OR.to(x_NI.dtype).t(), alpha=scale)
        ctx.save_for_backward(x_NI, h_NR, weight_OI, a_RI, b_OR)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, x.dtype
        return y_NO.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:  # noqa: ANN401 -- as torch calls it
        """Return the gradients of x, A and B."""
        x_NI, h_NR, weight_OI, a_RI, b_OR = ctx.saved_tensors
        dtype, scale = weight_OI.dtype, ctx.scale
        g_NO = grad.reshape(-1, grad.shape[-1]).to(dtype)
        b_RO = b_OR.t().to(dtype).contiguous()
        gh_NR = (g_NO @ b_RO.t()).mul_(scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (g_NO @ weight_OI).addmm_(gh_NR, a_RI.to(dtype)).view(ctx.shape).to(ctx.dtype)
        grad_a = gh_NR.t() @ x_NI
        grad_b = (h_NR.t() @ g_NO).mul_(scale).t()
        return grad_x, grad_a.to(a_RI.dtype), grad_b.to(b_OR.dtype), None, None


def fuse(network: nn.Module) -> int:
    """Have the network's plain LoRA layers compute in one step; return how many do.

    Layers with dropout, DoRA or convolutions stay as peft has them, and so does a layer while it is switched off or
    merged. Names of weights stay what they are.
    """
    layers = list(_plain(network))
    for layer in layers:
        vars(layer)["forward"] = MethodType(_forward, layer)
    return len(layers)


def _plain(network: nn.Module) -> Iterator[Linear]:
    for module in network.modules():
        if isinstance(module, Linear) and type(module.get_base_layer()) is nn.Linear and not module.lora_variant:
            dropouts = module.lora_dropout.values()
            if len(module.lora_A) == 1 and all(isinstance(dropout, nn.Identity) for dropout in dropouts):
                yield module


def _forward(self: Linear, x: Tensor) -> Tensor:
    if self.disable_adapters or self.merged:
        return type(self).forward(self, x)
    (name,) = self.lora_A
    a, b = self.lora_A[name].weight, self.lora_B[name].weight
    y: Tensor = LoraProduct.apply(x, a, b, self.get_base_layer(), self.scaling[name])  # type: ignore[no-untyped-call]
    return y
