"""Inception v3 as FID, KID and the Inception Score have used it since Salimans et al. (arXiv 1606.03498).

It is TensorFlow's network of 2015-12-05, which differs from torchvision's in four ways: pictures are enlarged without
half-pixel offsets and mapped to (x − 128) / 128, average pools leave their padding out, the last block pools by the
maximum, and there are 1008 classes (toshas/torch-fidelity and mseitzer/pytorch-fid tell the same). The names of the
weights are torchvision's.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE: Final = 299
CLASSES: Final = 1008
FEATURES: Final = 2048
Kernel = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution that keeps the size unless it strides, batch normalisation, ReLU."""

    def __init__(self, channels: int, out: int, kernel: Kernel = 1, stride: int = 1, padding: Kernel = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return ``[B, out, H, W]``."""
        return F.relu(self.bn(self.conv(x_BCHW)))


def _row(channels: int, out: int) -> Conv:
    return Conv(channels, out, (1, 7), padding=(0, 3))


def _column(channels: int, out: int) -> Conv:
    return Conv(channels, out, (7, 1), padding=(3, 0))


def _average(x_BCHW: Tensor) -> Tensor:
    return F.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)


def _through(x_BCHW: Tensor, *layers: nn.Module) -> Tensor:
    for layer in layers:
        x_BCHW = layer(x_BCHW)
    return x_BCHW


class BlockA(nn.Module):
    """35×35: 1×1, 5×5, twice 3×3 and an average pool."""

    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(channels, 64)
        self.branch5x5_1, self.branch5x5_2 = Conv(channels, 48), Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(channels, 64), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(channels, pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches beside each other."""
        five = _through(x, self.branch5x5_1, self.branch5x5_2)
        three = _through(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3)
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], 1)


class BlockB(nn.Module):
    """35×35 to 17×17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(channels, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(channels, 64), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches beside each other."""
        three = _through(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3)
        return torch.cat([self.branch3x3(x), three, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(nn.Module):
    """17×17: 7×7 in rows and columns."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(channels, 192)
        self.branch7x7_1, self.branch7x7_2 = Conv(channels, inner), _row(inner, inner)
        self.branch7x7_3 = _column(inner, 192)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(channels, inner), _column(inner, inner)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _row(inner, inner), _column(inner, inner)
        self.branch7x7dbl_5 = _row(inner, 192)
        self.branch_pool = Conv(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches beside each other."""
        once = _through(x, self.branch7x7_1, self.branch7x7_2, self.branch7x7_3)
        names = (getattr(self, f"branch7x7dbl_{number}") for number in range(1, 6))
        return torch.cat([self.branch1x1(x), once, _through(x, *names), self.branch_pool(_average(x))], 1)


class BlockD(nn.Module):
    """17×17 to 8×8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(channels, 192), Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(channels, 192), Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, (7, 1), padding=(3, 0)), Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches beside each other."""
        three = _through(x, self.branch3x3_1, self.branch3x3_2)
        names = (getattr(self, f"branch7x7x3_{number}") for number in range(1, 5))
        return torch.cat([three, _through(x, *names), F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(nn.Module):
    """8×8: 3×3 split into rows and columns; pools by the average, or by the maximum in the last block."""

    def __init__(self, channels: int, *, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.branch1x1 = Conv(channels, 320)
        self.branch3x3_1 = Conv(channels, 384)
        self.branch3x3_2a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(channels, 448), Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Conv(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches beside each other."""
        three = self.branch3x3_1(x)
        twice = _through(x, self.branch3x3dbl_1, self.branch3x3dbl_2)
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.last else _average(x)
        split = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        split += [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        return torch.cat([self.branch1x1(x), *split, self.branch_pool(pooled)], 1)


class Inception(nn.Module):
    """From uint8 pictures ``[B, 3, H, W]`` to 2048 features; ``fc`` without its bias makes 1008 logits of them.

    The Inception Score has left the bias out since its beginnings.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Conv(3, 32, 3, stride=2), Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Conv(64, 80), Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = BlockD(768), BlockE(1280), BlockE(2048, last=True)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, pictures_B3HW: Tensor) -> Tensor:
        """Return features ``[B, 2048]``."""
        x = (enlarged(pictures_B3HW.float(), SIDE) - 128) / 128
        x = _through(x, self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3)
        x = _through(F.max_pool2d(x, 3, stride=2), self.Conv2d_3b_1x1, self.Conv2d_4a_3x3)
        x = _through(F.max_pool2d(x, 3, stride=2), self.Mixed_5b, self.Mixed_5c, self.Mixed_5d)
        x = _through(x, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e)
        return _through(x, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c).mean((2, 3))


def enlarged(x_BCHW: Tensor, side: int) -> Tensor:
    """Return pictures of ``side``² pixels, bilinear as TensorFlow 1 does it: pixel i is read at i · old / new."""
    for dim in (2, 3):
        size = x_BCHW.shape[dim]
        places = torch.arange(side, device=x_BCHW.device, dtype=torch.float32) * (size / side)
        low = places.long().clamp(max=size - 1)
        shape = [1] * 4
        shape[dim] = side
        between = (places - low).view(shape)
        left, right = (x_BCHW.index_select(dim, index) for index in (low, (low + 1).clamp(max=size - 1)))
        x_BCHW = left + (right - left) * between
    return x_BCHW
