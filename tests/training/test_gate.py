from datetime import UTC, datetime
from typing import Any

import pytest

from diptych_api.after import Gate, Promotion
from diptych_api.evaluation_report import Interval, MetricResult
from diptych_api.report import Report
from diptych_training.gate import decide, told


def result(name: str, before: float, after: float, **more: Any) -> MetricResult:
    return MetricResult(name=name, base=before, tuned=after, difference=after - before, n=40, **more)


def promotion(*gates: dict[str, Any]) -> Promotion:
    return Promotion(model="noto", gates=[Gate(**gate) for gate in gates])


LOSS = result("ValidationLoss", 0.2, 0.1, interval=Interval(low=-0.15, high=-0.05))
CLIP = result("CLIPScore", 0.3, 0.29, interval=Interval(low=-0.02, high=0.0), lower_is_better=False)


@pytest.mark.parametrize(
    ("gates", "outcome"),
    [
        ((), "Promoted"),
        (({"metric": "ValidationLoss", "min_improvement": 0.1},), "Promoted"),
        (({"metric": "ValidationLoss", "min_improvement": 0.11},), "NotPromoted"),
        (({"metric": "ValidationLoss", "min_improvement": 0.06, "confident": True},), "NotPromoted"),
        (({"metric": "ValidationLoss", "min_improvement": 0.04, "confident": True},), "Promoted"),
        (({"metric": "ValidationLoss"}, {"metric": "CLIPScore"}), "NotPromoted"),
        (({"metric": "ValidationLoss"}, {"metric": "CLIPScore", "min_improvement": -0.015}), "Promoted"),
        (
            ({"metric": "ValidationLoss"}, {"metric": "CLIPScore", "min_improvement": -0.015, "confident": True}),
            "NotPromoted",
        ),
        (({"metric": "CLIPScore", "min_improvement": -0.015},), "NotPromoted"),
        (({"metric": "KID"},), "NotPromoted"),
    ],
)
def test_trap_18_every_gate_must_hold_and_something_must_be_better(gates: tuple[Any, ...], outcome: str) -> None:
    decision = decide(promotion(*gates), [LOSS, CLIP], "noto-1234abcd")
    assert decision.outcome == outcome
    assert "noto-1234abcd" in decision.reason
    assert [check.metric for check in decision.checks] == [gate["metric"] for gate in gates or [{"metric": LOSS.name}]]


def test_an_equal_artifact_does_not_take_the_place_of_the_current_one() -> None:
    decision = decide(promotion(), [result("ValidationLoss", 0.1, 0.1)], "noto-1234abcd")
    assert told(decision) == (
        "Not promoted to noto. Against noto-1234abcd: ValidationLoss 0.1 against 0.1; it must be better."
    )


def test_the_evidence_tells_improvement_and_interval_with_better_above_zero() -> None:
    loss, clip = decide(promotion({"metric": "ValidationLoss"}, {"metric": "CLIPScore"}), [LOSS, CLIP], None).checks
    assert loss.improvement == pytest.approx(0.1)
    assert clip.improvement == pytest.approx(-0.01)
    assert loss.interval == Interval(low=0.05, high=0.15)
    assert clip.interval == CLIP.interval
    assert (loss.passed, clip.passed) == (True, False)


def test_a_figure_that_could_not_be_told_says_why() -> None:
    silent = MetricResult(name="KID", n=0, warning="3 drawn and 1 real pictures are too few.")
    decision = decide(promotion({"metric": "KID"}), [silent], None)
    assert decision.reason == "Against its base: There is no figure of KID of both: " + silent.warning


def test_a_decision_about_many_gates_still_fits_the_message_of_a_report() -> None:
    gates = [Gate(metric="KID") for _ in range(16)]
    silent = MetricResult(name="KID", n=0, warning="w" * 1000)
    decision = decide(Promotion(model="m" * 40, gates=gates), [silent], "r" * 49)
    written = Report(phase="Gating", time=datetime.now(UTC), message=told(decision), gate=decision)
    assert Report.model_validate_json(written.model_dump_json()) == written


def test_where_somebody_else_has_the_last_word_the_artifact_is_offered() -> None:
    assert decide(promotion(), [LOSS], None, promotes=False).outcome == "Offered"
