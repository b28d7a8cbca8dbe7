"""LPIPS: how different two pictures look to AlexNet (Zhang et al. 2018, arXiv 1801.03924), version 0.1.

The names of the weights are those of torchvision's AlexNet (``features.0.weight`` …) and of the reference
implementation's heads (``lin0.model.1.weight`` …).
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHIFT: Final = (-0.030, -0.088, -0.188)
SCALE: Final = (0.458, 0.448, 0.450)
CHANNELS: Final = (64, 192, 384, 256, 256)
TINY: Final = 1e-10
SMALLEST: Final = 31
"""A smaller side leaves nothing after the pools."""


class Head(nn.Module):
    """Weighs the channels of one layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.ModuleList([nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False)])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the weighted sum over channels, its mean over places, ``[B]``."""
        weighed: Tensor = self.model[1](x_BCHW)
        return weighed.mean((1, 2, 3))


class Perceptual(nn.Module):
    """The distance of two batches of uint8 pictures ``[B, 3, H, W]``, pair by pair."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = {
            "0": nn.Conv2d(3, 64, 11, stride=4, padding=2),
            "3": nn.Conv2d(64, 192, 5, padding=2),
            "6": nn.Conv2d(192, 384, 3, padding=1),
            "8": nn.Conv2d(384, 256, 3, padding=1),
            "10": nn.Conv2d(256, 256, 3, padding=1),
        }
        self.features = nn.ModuleDict(convolutions)
        self.lin0, self.lin1, self.lin2, self.lin3, self.lin4 = (Head(channels) for channels in CHANNELS)

    def forward(self, a_B3HW: Tensor, b_B3HW: Tensor) -> Tensor:
        """Return the distances ``[B]``: 0 for equal pictures."""
        heads = (self.lin0, self.lin1, self.lin2, self.lin3, self.lin4)
        layers = zip(heads, self._layers(a_B3HW), self._layers(b_B3HW), strict=True)
        return torch.stack([head((_normal(a) - _normal(b)).square()) for head, a, b in layers]).sum(0)

    def _layers(self, pictures_B3HW: Tensor) -> list[Tensor]:
        shift, scale = (torch.tensor(v, device=pictures_B3HW.device).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
        x, found = (pictures_B3HW.float() / 127.5 - 1 - shift) / scale, []
        for name, convolution in self.features.items():
            x = F.relu(convolution(F.max_pool2d(x, 3, stride=2) if name in {"3", "6"} else x))
            found.append(x)
        return found


def _normal(x_BCHW: Tensor) -> Tensor:
    return x_BCHW / (x_BCHW.square().sum(1, keepdim=True).sqrt() + TINY)
