"""Metrics that need a network: CLIP score, KID, FID, Inception Score, CMMD and LPIPS."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch

from diptych_api.after import Extractors
from diptych_api.evaluation_report import Interval, MetricResult
from diptych_training.distances import Picture, Pictures
from diptych_training.metrics import FEW, Evidence, Measurement, interval_of, paired, told_nothing
from diptych_training.set_metrics import Array, Statistic, cmmd, fid, inception_score, kid
from diptych_training.vision.networks import (
    Embed,
    Embedder,
    Features,
    Network,
    PairDistance,
    PictureAndText,
    embedder,
    perceptual,
    picture_and_text,
)

FEWEST: Final = 2
MOST_IN_KERNEL: Final = 2000
"""Pictures of a side that KID and CMMD look at: their memory grows with the square."""
RESAMPLES: Final = 200
RESAMPLES_OF_MANY: Final = 50
MANY: Final = 256
SMALL_FOR_KID: Final = 100
References = Callable[[], Iterable[Picture]]


@dataclass(frozen=True, slots=True)
class Sides:
    """Features of the pictures of both and of the real ones, ``[N, D]``."""

    tuned: Features
    base: Features | None
    real: Features


class Panel:
    """The networks that a spec names, each loaded when a metric first asks for it, and what they saw."""

    def __init__(
        self, extractors: Extractors, evidence: Evidence, references: References, device: torch.device | str = "cpu"
    ) -> None:
        self.extractors, self.evidence, self.references, self.device = extractors, evidence, references, device

    @cached_property
    def clip(self) -> PictureAndText:
        """CLIP."""
        return picture_and_text(str(self.extractors.clip), self.device)

    @cached_property
    def embedder(self) -> Embedder:
        """The network of KID and FID."""
        return embedder(str(self.extractors.features), self.device)

    @cached_property
    def perceptual(self) -> PairDistance:
        """LPIPS."""
        return perceptual(str(self.extractors.lpips), self.device)

    @cached_property
    def drawn(self) -> tuple[Features, Features | None]:
        """What the network of KID and FID sees in the pictures of tuned and base."""
        return self._drawn(self.embedder.features)

    @cached_property
    def features(self) -> Sides:
        """The same, and what it sees in real pictures."""
        return Sides(*self.drawn, self.embedder.features(self.references()))

    @cached_property
    def clip_features(self) -> Sides:
        """What CLIP sees."""
        return Sides(*self._drawn(self.clip.pictures), self.clip.pictures(self.references()))

    def _drawn(self, see: Embed) -> tuple[Features, Features | None]:
        base = self.evidence.base
        return see(self.evidence.tuned), None if base is None else see(base)


def clip_score(panel: Panel) -> Measurement:
    """Return the mean cosine of each picture and its prompt (Hessel et al., arXiv 2104.08718, without their factor)."""
    sides, texts = panel.clip_features, panel.clip.texts(panel.evidence.prompts)

    def cosines(pictures: Features) -> list[float]:
        return [float(value) for value in (pictures * texts).sum(1)]

    base = None if sides.base is None else cosines(sides.base)
    measured = paired("CLIPScore", base, cosines(sides.tuned), unit="cosine", lower_is_better=False)
    return _by(panel.clip.network, measured)


def lpips(panel: Panel) -> Measurement:
    """Return the mean distance of each picture to the real one of the same caption."""
    real, base = panel.evidence.real, panel.evidence.base
    if real is None:
        return told_nothing("LPIPS", "There is no real picture for every prompt.")
    distance = panel.perceptual.distance

    def to_real(pictures: Pictures) -> list[float]:
        return distance(pictures, real)

    measured = paired("LPIPS", None if base is None else to_real(base), to_real(panel.evidence.tuned))
    return _by(panel.perceptual.network, measured)


def of_sets(
    name: str, make: Callable[[Array, Array], Statistic], sides: Sides, network: Network, *, unit: str = ""
) -> Measurement:
    """Return a distance of the drawn pictures to the real ones, and the interval of its difference.

    A resample takes the same prompts for base and tuned, and real pictures on their own.
    """
    n, m = len(sides.tuned), len(sides.real)
    if min(n, m) < FEWEST:
        return told_nothing(name, f"{n} drawn and {m} real pictures are too few.")
    base = None if sides.base is None else make(sides.base, sides.real)
    return _by(network, _resampled(name, base, make(sides.tuned, sides.real), (n, m), unit=unit))


def _resampled(
    name: str,
    base: Statistic | None,
    tuned: Statistic,
    sizes: tuple[int, int],
    *,
    unit: str = "",
    lower_is_better: bool = True,
) -> Measurement:
    all_N, all_M = np.ones(sizes[0]), np.ones(sizes[1])
    value, before = tuned(all_N, all_M), None if base is None else base(all_N, all_M)
    draws = [(tuned(w, v), None if base is None else base(w, v)) for w, v in _draws(sizes)]
    differences = [after - rival for after, rival in draws if rival is not None]
    result = MetricResult(
        name=name,
        base=before,
        tuned=value,
        difference=None if before is None else value - before,
        interval=_interval(differences),
        tuned_interval=_interval([after for after, _ in draws]),
        n=sizes[0],
        unit=unit,
        lower_is_better=lower_is_better,
    )
    return Measurement(result)


def _draws(sizes: tuple[int, int]) -> Iterable[tuple[Array, Array]]:
    """Yield weights of resamples, always the same; none where there are too few pictures to resample."""
    if min(sizes) < FEW:
        return
    random = np.random.default_rng(0)
    for _ in range(RESAMPLES if min(sizes) <= MANY else RESAMPLES_OF_MANY):
        drawn, real = (random.multinomial(size, np.full(size, 1 / size)).astype(np.float64) for size in sizes)
        yield drawn, real


def _interval(values: Sequence[float]) -> Interval | None:
    return interval_of(np.asarray(values)) if values else None


def _kid(panel: Panel) -> Measurement:
    measured = of_sets("KID", kid, _cut(panel.features), panel.embedder.network)
    return _warned(measured, measured.result.n < SMALL_FOR_KID, "its interval is wide")


def _cmmd(panel: Panel) -> Measurement:
    measured = of_sets("CMMD", cmmd, _cut(panel.clip_features), panel.clip.network)
    return _warned(measured, measured.result.n < SMALL_FOR_KID, "it is too high by the kernel's diagonal")


def _fid(panel: Panel) -> Measurement:
    sides = panel.features
    measured = of_sets("FID", fid, sides, panel.embedder.network)
    features = sides.tuned.shape[1]
    few = min(len(sides.tuned), len(sides.real)) <= features
    return _warned(measured, few, f"FID is too high below {features} pictures a side; trust KID")


def _inception_score(panel: Panel) -> Measurement:
    probabilities = panel.embedder.probabilities
    if probabilities is None:
        kind = panel.embedder.network.kind
        return told_nothing("InceptionScore", f"It needs the classes of Inception v3, which {kind} has not.")
    drawn, before = panel.drawn
    if len(drawn) < FEWEST:
        return told_nothing("InceptionScore", f"{len(drawn)} pictures are too few.")
    base = None if before is None else inception_score(probabilities(before))
    tuned = inception_score(probabilities(drawn))
    sizes = (len(drawn), FEW)
    measured = _by(panel.embedder.network, _resampled("InceptionScore", base, tuned, sizes, lower_is_better=False))
    return _warned(measured, True, "one split of all pictures; few pictures make it too low")


def _cut(sides: Sides) -> Sides:
    base = None if sides.base is None else sides.base[:MOST_IN_KERNEL]
    return Sides(sides.tuned[:MOST_IN_KERNEL], base, sides.real[:MOST_IN_KERNEL])


def _by(network: Network, measured: Measurement) -> Measurement:
    changes = {"network": network.kind, "weights": network.digest}
    return Measurement(measured.result.model_copy(update=changes), measured.figures)


def _warned(measured: Measurement, weak: bool, why: str) -> Measurement:  # noqa: FBT001 - data, not a mode
    result = measured.result
    if not weak or result.tuned is None:
        return measured
    return Measurement(result.model_copy(update={"warning": f"{result.n} pictures: {why}."}), measured.figures)


JUDGED_METRICS: Final[Mapping[str, Callable[[Panel], Measurement]]] = {
    "CLIPScore": clip_score,
    "KID": _kid,
    "FID": _fid,
    "InceptionScore": _inception_score,
    "LPIPS": lpips,
    "CMMD": _cmmd,
}
