"""Whether an artifact is better than what it would replace: every gate, on the same prompts and seeds, paired."""

from collections.abc import Mapping, Sequence
from typing import Final

from diptych_api.after import Gate, Promotion
from diptych_api.evaluation_report import GateCheck, GateDecision, GateOutcome, Interval, MetricResult

LONGEST_REASON: Final = 900
"""So that a report's message holds it with the model's name before it."""
DEFAULT: Final = Gate(metric="ValidationLoss")


def decide(
    promotion: Promotion, results: Sequence[MetricResult], rival: str | None, *, promotes: bool = True
) -> GateDecision:
    """Return the decision about an artifact.

    ``results`` have the artifact as tuned and what it is held against as base: the run ``rival``, or its own base where
    that is None. Without ``promotes`` somebody else has the last word, and what passes is offered.
    """
    found = {result.name: result for result in results}
    gates = promotion.gates or [DEFAULT]
    checks = [check(gate, found.get(gate.metric)) for gate in gates]
    failed = [refusal(each, gate, found) for each, gate in zip(checks, gates, strict=True) if not each.passed]
    if not failed and not any((each.improvement or 0) > 0 for each in checks):
        failed = ["Nothing is better than before: an equal model does not take a place."]
    told = failed or [_told(each) for each in checks]
    whose = "its base" if rival is None else rival
    passed: GateOutcome = "Promoted" if promotes else "Offered"
    return GateDecision(
        outcome="NotPromoted" if failed else passed,
        reason=f"Against {whose}: {' '.join(told)}"[:LONGEST_REASON],
        model=promotion.model,
        rival=rival,
        checks=checks,
    )


def not_comparable(promotion: Promotion, rival: str | None, problem: str) -> GateDecision:
    """Return the decision where there is nothing to decide by."""
    return GateDecision(outcome="NotPromoted", reason=problem[:LONGEST_REASON], model=promotion.model, rival=rival)


def told(decision: GateDecision) -> str:
    """Return the decision in a sentence."""
    words = {"Promoted": "Promoted to", "Offered": "Offered to", "NotPromoted": "Not promoted to"}
    return f"{words[decision.outcome]} {decision.model}. {decision.reason}"


def check(gate: Gate, result: MetricResult | None) -> GateCheck:
    """Return what a gate makes of a figure, or of none."""
    if result is None or result.difference is None:
        return GateCheck(metric=gate.metric, required=gate.min_improvement, passed=False)
    improvement, interval = _improvement(result)
    surest = interval.low if gate.confident and interval else improvement
    passed = holds(gate, surest) and not (gate.confident and interval is None)
    return GateCheck(
        metric=gate.metric,
        candidate=result.tuned,
        rival=result.base,
        improvement=improvement,
        interval=interval,
        required=gate.min_improvement,
        n=result.n,
        passed=passed,
    )


def holds(gate: Gate, improvement: float) -> bool:
    """Return whether an improvement is large enough: strictly more than nothing where nothing is asked for."""
    return improvement > 0 if gate.min_improvement == 0 else improvement >= gate.min_improvement


def refusal(found: GateCheck, gate: Gate, results: Mapping[str, MetricResult]) -> str:
    """Return why a gate did not hold."""
    if found.improvement is None:
        result = results.get(gate.metric)
        why = result.warning if result is not None and result.warning else "add it to spec.evaluation.metrics."
        return f"There is no figure of {gate.metric} of both: {why}"
    if gate.confident and found.interval is None:
        return f"{gate.metric} has no interval over {found.n} samples."
    asked = "be better" if gate.min_improvement == 0 else f"improve by {gate.min_improvement:.4g}"
    sure = (
        f", and surely: the interval begins at {found.interval.low:+.3g}" if gate.confident and found.interval else ""
    )
    return f"{_told(found)[:-1]}; it must {asked}{sure}."


def _told(found: GateCheck) -> str:
    return f"{found.metric} {found.candidate:.4g} against {found.rival:.4g}."


def _improvement(result: MetricResult) -> tuple[float, Interval | None]:
    difference, interval = result.difference or 0.0, result.interval
    if not result.lower_is_better:
        return difference, interval
    turned = None if interval is None else Interval(low=-interval.high, high=-interval.low, level=interval.level)
    return -difference, turned
