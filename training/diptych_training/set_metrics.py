"""Distances between sets of pictures, and the Inception Score, as functions of features and weights.

Weights count how often each picture is taken: all ones give the figure, those of a resample one draw of its bootstrap.
N and M pictures, D features, C classes; everything in float64.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array, Array], float]
"""Takes the weights ``[N]`` of the drawn pictures and ``[M]`` of the real ones."""
Kernel = Callable[[Array, Array], Array]
CMMD_SIGMA: Final = 10.0
CMMD_SCALE: Final = 1000.0
TINY: Final = 1e-16


def kid(drawn_ND: Array, real_MD: Array) -> Statistic:
    """Return the Kernel Inception Distance (Bińkowski et al., arXiv 1801.01403): MMD² of a cubic kernel, unbiased.

    No picture is held against itself, nor against its own copies in a resample, so the figure can be below 0.
    """
    drawn, real, between = _gram(cubic, drawn_ND, real_MD)

    def value(w_N: Array, v_M: Array) -> float:
        return _without_itself(drawn, w_N) + _without_itself(real, v_M) - 2 * _mean(between, w_N, v_M)

    return value


def cmmd(drawn_ND: Array, real_MD: Array) -> Statistic:
    """Return the CLIP-MMD (Jayasumana et al., arXiv 2401.09603) of CLIP's vectors of length one, times 1000.

    A Gaussian kernel of width 10; the biased estimator, as in the authors' code, which is never below 0.
    """
    drawn, real, between = _gram(gaussian, drawn_ND, real_MD)

    def value(w_N: Array, v_M: Array) -> float:
        return CMMD_SCALE * (_mean(drawn, w_N, w_N) + _mean(real, v_M, v_M) - 2 * _mean(between, w_N, v_M))

    return value


def fid(drawn_ND: Array, real_MD: Array) -> Statistic:
    """Return the Fréchet Inception Distance (Heusel et al., arXiv 1706.08500): of Gaussians with the sets' moments.

    tr √(ΣΣ') is the sum of the singular values of the two centred sets multiplied, so no root of a covariance, which
    has no full rank when pictures are fewer than features, has to be taken.
    """

    def value(w_N: Array, v_M: Array) -> float:
        mean_D, drawn_ND_ = _centred(drawn_ND, w_N)
        rival_D, real_MD_ = _centred(real_MD, v_M)
        return float(
            np.square(mean_D - rival_D).sum()
            + np.square(drawn_ND_).sum()
            + np.square(real_MD_).sum()
            - 2 * _nuclear_norm(drawn_ND_, real_MD_)
        )

    return value


def inception_score(probabilities_NC: Array) -> Statistic:
    """Return exp(mean KL(p(y|x) ‖ p(y))) (Salimans et al., arXiv 1606.03498) of all pictures as one split."""
    entropy_N = (probabilities_NC * np.log(probabilities_NC + TINY)).sum(1)

    def value(w_N: Array, _v_M: Array) -> float:
        share_N = w_N / w_N.sum()
        marginal_C = share_N @ probabilities_NC
        return float(np.exp(share_N @ entropy_N - marginal_C @ np.log(marginal_C + TINY)))

    return value


def cubic(a_ND: Array, b_MD: Array) -> Array:
    """Return (a·b / D + 1)³ for all pairs."""
    kernel: Array = (a_ND @ b_MD.T / a_ND.shape[1] + 1) ** 3
    return kernel


def gaussian(a_ND: Array, b_MD: Array) -> Array:
    """Return exp(−‖a − b‖² / 2σ²) for all pairs."""
    squares = np.square(a_ND).sum(1)[:, None] + np.square(b_MD).sum(1)[None] - 2 * a_ND @ b_MD.T
    kernel: Array = np.exp(-squares / (2 * CMMD_SIGMA**2))
    return kernel


def _gram(kernel: Kernel, drawn_ND: Array, real_MD: Array) -> tuple[Array, Array, Array]:
    return kernel(drawn_ND, drawn_ND), kernel(real_MD, real_MD), kernel(drawn_ND, real_MD)


def _mean(kernel_NM: Array, w_N: Array, v_M: Array) -> float:
    return float(w_N @ kernel_NM @ v_M / (w_N.sum() * v_M.sum()))


def _without_itself(kernel_NN: Array, w_N: Array) -> float:
    square = np.square(w_N)
    pairs = w_N.sum() ** 2 - square.sum()
    return float((w_N @ kernel_NN @ w_N - square @ kernel_NN.diagonal()) / pairs)


def _centred(features_ND: Array, w_N: Array) -> tuple[Array, Array]:
    """Return the mean, and the set around it so scaled that its product with itself is the covariance."""
    total = w_N.sum()
    mean_D = w_N @ features_ND / total
    return mean_D, (features_ND - mean_D) * np.sqrt(w_N / (total - 1))[:, None]


def _nuclear_norm(a_ND: Array, b_MD: Array) -> float:
    """Return the sum of the singular values of a bᵀ, by way of the smaller of N × M and D × D."""
    rows, features = min(len(a_ND), len(b_MD)), a_ND.shape[1]
    if rows <= features:
        return float(np.linalg.svd(a_ND @ b_MD.T, compute_uv=False).sum())
    a_DD, b_DD = (np.asarray(np.linalg.qr(side, mode="r")) for side in (a_ND, b_MD))
    return float(np.linalg.svd(a_DD @ b_DD.T, compute_uv=False).sum())
