"""The simulated engine: who draws with whom under each rule, and what that comes to."""

import pytest

from diptych_bench.arrivals import Arrival, at_once, mixed_requests, poisson
from diptych_bench.policies import FIFO, OURS, POLICIES, SERIAL, Policy
from diptych_bench.simulation import Costs, simulate
from diptych_diffusion.drawing_settings import Settings
from diptych_serving.image_request import Arm, ImageRequest

FLAT = Costs(dict.fromkeys(range(1, 9), 1.0), dict.fromkeys(range(1, 9), 1.0), begin_s=0.0, decode_s=0.0)
"""A step takes a second, however many pictures share it."""
REORDERED = POLICIES[3]


def request(*adapters: str | None, steps: int = 10) -> ImageRequest:
    return ImageRequest("a dog", 1, Settings(64, 64, steps), arms=tuple(Arm(adapter) for adapter in adapters))


def latencies(policy: Policy, *requests: ImageRequest) -> list[float]:
    return simulate(at_once(requests), policy, FLAT, max_rows=16).latencies_s


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [(SERIAL, [20, 30]), (POLICIES[1], [10, 20]), (FIFO, [20, 30]), (REORDERED, [20, 10]), (OURS, [10, 10])],
    ids=lambda value: value.name if isinstance(value, Policy) else "",
)
def test_a_comparison_and_a_base_picture_share_what_the_rule_lets_them(policy: Policy, seconds: list[float]) -> None:
    assert latencies(policy, request(None, "style"), request(None)) == seconds


def test_rows_are_bounded_and_nobody_is_overtaken() -> None:
    assert latencies(OURS, *[request(None, steps=20)] * 8, request("style", steps=5)) == [20] * 8 + [25]


def test_a_request_that_comes_later_joins_at_the_next_step() -> None:
    arrivals = [Arrival(0.0, request(None)), Arrival(2.5, request("style"))]
    outcome = simulate(arrivals, OURS, FLAT, max_rows=16)
    assert outcome.latencies_s == [10.0, 10.5]
    assert outcome.end_s == 13.0


def test_decoding_and_beginning_hold_up_whoever_draws() -> None:
    costs = Costs(FLAT.same, FLAT.mixed, begin_s=0.5, decode_s=0.25)
    outcome = simulate(at_once([request(None, "style"), request(None, steps=20)]), OURS, costs, max_rows=16)
    assert outcome.latencies_s == [11.5, 21.75]


def test_the_trace_is_the_same_every_time_and_mixed_as_announced() -> None:
    requests = mixed_requests(4000, 128)
    assert requests == mixed_requests(4000, 128)
    comparisons = [asked for asked in requests if len(asked.arms) == 2]
    bases = [asked for asked in requests if asked.arms == (Arm(),)]
    assert len(comparisons) / 4000 == pytest.approx(0.5, abs=0.03)
    assert len(bases) / 4000 == pytest.approx(0.2, abs=0.03)
    assert {asked.settings.steps for asked in requests} == {20, 30, 50}
    assert poisson(requests, 5.0)[-1].at_s == pytest.approx(800, rel=0.05)
