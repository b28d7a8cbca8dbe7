"""Dropout whose masks depend on the sample alone: not on the batch, the worker, the device or the call before.

B = samples, N = values of one sample.
"""

import hashlib
from typing import Final

import torch
from torch import nn

_LOW: Final = 0xFFFFFFFF


class KeyedDropout(nn.Module):
    """Dropout with share ``p``; each sample's mask is a hash of its key, the layer's name and the position.

    Recomputation under gradient checkpointing and a second worker therefore see the same masks.
    """

    def __init__(self, p: float, layer: str) -> None:
        super().__init__()
        self.p = p
        self.salt = int.from_bytes(hashlib.sha256(layer.encode()).digest()[:4])
        self.keys_B: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` (B first): some values zero, the others divided by 1 - p; unchanged in eval mode."""
        if not self.training:
            return x
        if self.keys_B is None or len(self.keys_B) != len(x):
            raise RuntimeError("set_dropout_keys must give one key for each sample of the batch")
        hashed_BN = _hash(self.keys_B.to(x.device), self.salt, x[0].numel())
        kept_BN = hashed_BN >= int(self.p * 2**32)
        return x * kept_BN.view_as(x).to(x.dtype) / (1 - self.p)

    def extra_repr(self) -> str:
        """Return the share for `print(module)`."""
        return f"p={self.p}"


def set_dropout_keys(module: nn.Module, keys_B: torch.Tensor) -> None:
    """Give every `KeyedDropout` in ``module`` the int64 keys of the batch that comes next."""
    for part in module.modules():
        if isinstance(part, KeyedDropout):
            part.keys_B = keys_B


def _hash(keys_B: torch.Tensor, salt: int, count: int) -> torch.Tensor:
    """Return evenly spread values of 32 bits, int64 of shape (B, count); bitwise the same on every device."""
    seed_B = _mix(_mix((keys_B & _LOW) ^ salt) ^ ((keys_B >> 32) & _LOW))
    position_N = _mix(torch.arange(count, device=keys_B.device))
    return _mix((position_N[None] + seed_B[:, None]) & _LOW)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """Return a hash of each 32-bit value: two rounds of xor-shift and multiply, which never leave 63 bits."""
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & _LOW
    return x ^ (x >> 16)
