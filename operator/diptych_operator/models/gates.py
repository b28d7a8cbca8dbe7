"""Whether an artifact is good enough to be promoted: its gates, held against the version it would replace."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from diptych_api.after import Gate, Metric, Promotion
from diptych_api.report import MetricValue

HIGHER_IS_BETTER: Final[frozenset[Metric]] = frozenset({"CLIPScore", "InceptionScore"})
DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether every gate holds, and a sentence that says by how much, or which does not."""

    passed: bool
    reason: str
    improved: bool = False


def judge(promotion: Promotion, figures: Sequence[MetricValue], incumbent: Sequence[MetricValue] | None) -> Verdict:
    """Return whether an artifact meets the gates of its job.

    `incumbent` has the figures of the version that it would replace; None where there is none yet, then the artifact is
    held against its own base.
    """
    if not promotion.gates:
        return _judge_gate(Gate(metric="ValidationLoss"), figures, incumbent)
    verdicts = [_judge_gate(gate, figures, incumbent) for gate in promotion.gates]
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if not failed and not any(verdict.improved for verdict in verdicts):
        return Verdict(False, "Nothing is better than before: an equal model does not take a place.")
    told = failed or verdicts
    return Verdict(not failed, " ".join(verdict.reason for verdict in told))


def gated_first(promotion: Promotion | None, figures: Sequence[MetricValue]) -> list[MetricValue]:
    """Return figures, those of the gates first."""
    gates = promotion.gates if promotion else []
    order = [gate.metric for gate in gates] or ["ValidationLoss"]
    place = {metric: number for number, metric in enumerate(dict.fromkeys(order))}
    return sorted(figures, key=lambda figure: place.get(figure.name, len(place)))  # type: ignore[call-overload]


def _judge_gate(gate: Gate, figures: Sequence[MetricValue], incumbent: Sequence[MetricValue] | None) -> Verdict:
    own = _figure(figures, gate.metric)
    if own is None or not _is_finite(own.tuned):
        return Verdict(False, f"There is no figure of {gate.metric}: add it to spec.evaluation.metrics.")
    rival = None if incumbent is None else _figure(incumbent, gate.metric)
    if incumbent is not None and (rival is None or not _is_finite(rival.tuned)):
        return Verdict(False, f"The current version has no figure of {gate.metric} to be held against.")
    before, whose = (own.base, "its base") if rival is None else (rival.tuned, "the current version")
    if before is None or own.tuned is None or not _is_finite(before):
        return Verdict(False, f"There is no figure of {gate.metric} of the base to be held against.")
    improvement = own.tuned - before if gate.metric in HIGHER_IS_BETTER else before - own.tuned
    strictly = gate.min_improvement == 0
    passed = improvement > 0 if strictly else improvement >= gate.min_improvement
    told = f"{gate.metric} {_short(own.tuned)} against {_short(before)} of {whose}"
    if passed:
        return Verdict(True, f"{told}.", improved=improvement > 0)
    least = "must be better" if strictly else f"must be better by {_short(gate.min_improvement)}"
    return Verdict(False, f"{told}: it {least}.")


def _figure(figures: Sequence[MetricValue], metric: str) -> MetricValue | None:
    return next((figure for figure in figures if figure.name == metric), None)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _short(value: float) -> str:
    return f"{value:.{DIGITS}g}"
