"""The figures of an evaluation. A metric is a function from Evidence to a Measurement; the tables below name them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from diptych_api.evaluation_report import Interval, MetricResult
from diptych_training.distances import PairDistance, Pictures, style_distance, thumbnail_distance

RESAMPLES: Final = 4000
ROWS: Final = 100
"""Resamples at a time: ten thousand samples take 8 MB."""
FEW: Final = 10


@dataclass(frozen=True, slots=True)
class Evidence:
    """What metrics look at: pictures uint8 ``[N, H, W, 3]``, the n-th of each for the n-th prompt.

    All of them come out of the base's VAE, real ones too: otherwise its blur would be measured.
    """

    prompts: tuple[str, ...]
    tuned: Pictures
    base: Pictures | None = None
    """None where there is no base."""
    real: Pictures | None = None
    """The pictures that the captions belong to; None where prompts have none."""
    rival: Pictures | None = None
    """Pictures of the same captions in the style that tuning should leave."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result over all prompts, and the figures of each prompt by name."""

    result: MetricResult
    figures: Mapping[str, Sequence[float]] = field(default_factory=dict)


Metric = Callable[[Evidence], Measurement]


def paired(
    name: str, base: Sequence[float] | None, tuned: Sequence[float], *, unit: str = "", lower_is_better: bool = True
) -> Measurement:
    """Return the means of figures that belong together, and the bootstrap interval of their mean difference."""
    differences = None if base is None else np.subtract(tuned, base)
    result = MetricResult(
        name=name,
        base=None if base is None else float(np.mean(base)),
        tuned=float(np.mean(tuned)),
        base_std=None if base is None else _deviation(base),
        tuned_std=_deviation(tuned),
        difference=None if differences is None else float(differences.mean()),
        interval=None if differences is None else bootstrap(differences),
        tuned_interval=bootstrap(np.asarray(tuned)),
        p_value=None if differences is None else sign_flips(differences),
        n=len(tuned),
        unit=unit,
        lower_is_better=lower_is_better,
        warning=f"Only {len(tuned)} samples: the interval is too narrow." if len(tuned) < FEW else "",
    )
    return Measurement(result, {f"{name}.tuned": tuned} | ({} if base is None else {f"{name}.base": base}))


def bootstrap(values: NDArray[np.float64], level: float = 0.95) -> Interval | None:
    """Return the percentile bootstrap interval of the mean (Efron 1979), the same for the same values.

    None for fewer than two values.
    """
    if len(values) <= 1:
        return None
    random = np.random.default_rng(0)
    means = [values[random.integers(len(values), size=(ROWS, len(values)))].mean(1) for _ in range(RESAMPLES // ROWS)]
    return interval_of(np.concatenate(means), level)


def interval_of(draws: NDArray[np.float64], level: float = 0.95) -> Interval:
    """Return what holds the middle ``level`` of the figures of resamples."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level)


def sign_flips(differences: NDArray[np.float64]) -> float | None:
    """Return the two-sided p-value of the paired permutation test (Fisher 1935): base and tuned swapped at random.

    None for fewer than two pairs.
    """
    if len(differences) <= 1:
        return None
    random, seen = np.random.default_rng(1), 0
    wanted = abs(differences.sum()) * (1 - 1e-12)
    for _ in range(RESAMPLES // ROWS):
        signs = random.integers(2, size=(ROWS, len(differences))) * 2 - 1
        seen += int((np.abs(signs @ differences) >= wanted).sum())
    return (seen + 1) / (RESAMPLES + 1)


def told_nothing(name: str, why: str) -> Measurement:
    """Return a measurement without a value, and why."""
    return Measurement(MetricResult(name=name, n=0, warning=why))


def to_real(name: str, distance: PairDistance) -> Metric:
    """Return the metric of the mean distance to the real picture of the same caption."""

    def measure(evidence: Evidence) -> Measurement:
        real = _given(evidence.real)
        base = None if evidence.base is None else distance(evidence.base, real)
        return paired(name, base, distance(evidence.tuned, real))

    return measure


def nearer_to_real(name: str, distance: PairDistance) -> Metric:
    """Return the metric of the share of pictures that are nearer to the real picture than to its rival."""

    def measure(evidence: Evidence) -> Measurement:
        real, rival = _given(evidence.real), _given(evidence.rival)

        def votes(pictures: Pictures) -> list[float]:
            pairs = zip(distance(pictures, real), distance(pictures, rival), strict=True)
            return [float(ours < theirs) for ours, theirs in pairs]

        base = None if evidence.base is None else votes(evidence.base)
        return paired(name, base, votes(evidence.tuned), unit="share", lower_is_better=False)

    return measure


REAL_METRICS: Final[Mapping[str, Metric]] = {
    "StyleDistance": to_real("StyleDistance", style_distance),
    "ThumbnailDistance": to_real("ThumbnailDistance", thumbnail_distance),
}
"""Metrics that compare with the real picture of each caption."""
RIVAL_METRICS: Final[Mapping[str, Metric]] = {
    "NearerByStyle": nearer_to_real("NearerByStyle", style_distance),
    "NearerByThumbnail": nearer_to_real("NearerByThumbnail", thumbnail_distance),
}
"""Metrics that ask which of two versions of each caption is nearer."""


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _given(pictures: Pictures | None) -> Pictures:
    if pictures is None:
        raise ValueError("this metric needs pictures that the evidence lacks")
    return pictures
