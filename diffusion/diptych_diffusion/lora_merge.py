"""Adapters folded into the weights that they adapt: for programs that know no adapters."""

from copy import deepcopy
from typing import TypeVar

import torch
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft.tuners.lora import LoraLayer
from torch import nn

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def merged(module: M) -> M:
    """Return a copy whose weights have the adapters in them; the module keeps its own. Itself where it has none."""
    if not any(isinstance(part, LoraLayer) for part in module.modules()):
        return module
    copy = deepcopy(module)
    for part in copy.modules():
        if isinstance(part, LoraLayer):
            part.merge()
    recurse_remove_peft_layers(copy)
    return copy
