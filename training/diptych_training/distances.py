"""Distances between pictures: by pixel, by thumbnail, by style.

Pictures are uint8 ``[N, H, W, 3]``; a distance takes two such arrays and gives one figure for each pair.
N = pictures, H, W = height and width, F = values of one signature, K = directions, L = places of a patch.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.uint8]
"""``[H, W, 3]``"""
Pictures = NDArray[np.uint8]
"""``[N, H, W, 3]``"""
PairDistance = Callable[[Pictures, Pictures], list[float]]
THUMBNAIL: Final = 16
SMALLEST: Final = 16
PATCH: Final = 3
DIRECTIONS: Final = 64
QUANTILES: Final = 64


def psnr(a: Pictures, b: Pictures) -> list[float]:
    """Return for each pair the peak signal-to-noise ratio in dB; infinite for equal pictures."""
    mse_N = (_unit(a).double() - _unit(b).double()).square().mean((1, 2, 3))
    return _listed(-10 * torch.log10(mse_N))


def thumbnails(pictures: Pictures) -> Tensor:
    """Return 16×16 colour thumbnails by area average, ``[N, F]`` in [0, 1]."""
    return F.interpolate(_unit(pictures), size=(THUMBNAIL, THUMBNAIL), mode="area").flatten(1)


def thumbnail_distance(a: Pictures, b: Pictures) -> list[float]:
    """Return for each pair the mean squared difference of the two thumbnails."""
    return _listed((thumbnails(a) - thumbnails(b)).square().mean(1))


def nearest(thumbnails_NF: Tensor, references_MF: Tensor) -> list[int]:
    """Return for each row the index of the reference with the smallest squared difference, the first of equals."""
    distances_NM = torch.cdist(thumbnails_NF, references_MF, compute_mode="donot_use_mm_for_euclid_dist")
    indices: list[int] = distances_NM.argmin(1).tolist()
    return indices


def style_signatures(pictures: Pictures) -> Tensor:
    """Return ``[N, F]``: which colours lie beside which at every scale, whatever the place.

    The picture is halved by area average down to 16 pixels. At each size all its 3×3 colour patches are projected on
    64 fixed directions, and each projection is read at 64 quantiles of its distribution over the picture.
    """
    return torch.stack([_signature(level_13HW) for level_13HW in _unit(pictures).split(1)])


def style_distance(a: Pictures, b: Pictures) -> list[float]:
    """Return for each pair how differently they are drawn: 0 for equal pictures, about d when all colours differ by d.

    The sliced Wasserstein-2 distance (Rabin, Peyré, Delon and Bernot 2011) between the distributions of their
    patches, over the sizes of a pyramid as Karras et al. compare sets of pictures (arXiv 1710.10196); here a set is
    the patches of one picture, and its colours count. Colours are in [0, 1]. Both pictures should have gone through
    the same autoencoder, or its blur is measured too.
    """
    return _listed((style_signatures(a) - style_signatures(b)).square().mean(1).sqrt())


def _signature(level_13HW: Tensor) -> Tensor:
    parts = []
    while True:
        projected_KL = np.sort(F.conv2d(level_13HW, _directions())[0].flatten(1).numpy(), axis=1)
        places = projected_KL.shape[1]
        middles = ((np.arange(QUANTILES) + 0.5) / QUANTILES * places).astype(int)
        parts.append(torch.from_numpy(projected_KL[:, middles]).flatten())
        if min(level_13HW.shape[-2:]) < 2 * SMALLEST:
            return torch.cat(parts)
        level_13HW = F.avg_pool2d(level_13HW, 2)


def _unit(pictures: Pictures) -> Tensor:
    """Return float32 ``[N, 3, H, W]`` in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def _directions() -> Tensor:
    """Return ``[K, 3, 3, 3]`` directions of length one, always the same."""
    drawn = torch.randn((DIRECTIONS, 3, PATCH, PATCH), generator=torch.Generator().manual_seed(0))
    return F.normalize(drawn.flatten(1), dim=1).view_as(drawn)


def _listed(values_N: Tensor) -> list[float]:
    values: list[float] = values_N.tolist()
    return values
