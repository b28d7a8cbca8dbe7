import numpy as np
import pytest

from diptych_training.distances import Pictures
from diptych_training.metrics import REAL_METRICS, RIVAL_METRICS, Evidence, bootstrap, paired

WHITE, GREY, BLACK = 255, 128, 0


def plain(*values: int) -> Pictures:
    return np.stack([np.full((32, 32, 3), value, np.uint8) for value in values])


def test_trap_16_paired_figures_give_means_difference_and_an_interval_around_it() -> None:
    random = np.random.default_rng(1)
    base = random.normal(1.0, 0.5, 40)
    tuned = base - 0.2 + random.normal(0, 0.05, 40)
    result = paired("Loss", base.tolist(), tuned.tolist()).result
    assert result.interval is not None
    assert result.difference == pytest.approx(tuned.mean() - base.mean())
    assert result.interval.low < -0.2 < result.interval.high
    assert result.interval.high - result.interval.low < 0.05, "pairing takes out what the samples have in common"
    assert (result.n, result.warning) == (40, "")


def test_the_bootstrap_holds_the_mean_in_about_95_of_100_cases_and_repeats_itself() -> None:
    random = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        interval = bootstrap(random.exponential(1.0, 60))
        assert interval is not None
        held += interval.low < 1 < interval.high
    assert 0.88 < held / 200 < 0.99
    values = random.normal(size=20)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values[:1]) is None


def test_the_paired_test_tells_a_small_steady_gain_from_none() -> None:
    random = np.random.default_rng(3)
    base = random.normal(1.0, 0.5, 30)
    better = paired("Loss", base.tolist(), (base - 0.02 + random.normal(0, 0.02, 30)).tolist()).result
    alike = paired("Loss", base.tolist(), base[::-1].tolist()).result
    assert better.p_value is not None
    assert alike.p_value is not None
    assert better.p_value < 0.001
    assert alike.p_value > 0.9
    assert better.tuned_std == pytest.approx(base.std(ddof=1), rel=0.1)
    exact = paired("Loss", [0.0] * 4, [1.0, 1.0, 1.0, 1.0]).result.p_value
    assert exact == pytest.approx(2 / 16, abs=0.02), "of 16 ways to sign four equal differences, two are as far"


def test_few_samples_are_warned_of() -> None:
    assert paired("Loss", [1.0, 2.0], [1.0, 1.0]).result.warning == "Only 2 samples: the interval is too narrow."


@pytest.mark.parametrize("name", ["StyleDistance", "ThumbnailDistance"])
def test_distance_to_the_real_pictures_falls_when_tuned_is_nearer(name: str) -> None:
    evidence = Evidence(("a", "b"), tuned=plain(BLACK, GREY), base=plain(WHITE, WHITE), real=plain(BLACK, BLACK))
    measurement = REAL_METRICS[name](evidence)
    assert measurement.result.tuned is not None
    assert measurement.result.base is not None
    assert 0 < measurement.result.tuned < measurement.result.base
    assert measurement.figures[f"{name}.tuned"][0] == 0
    assert measurement.result.lower_is_better


@pytest.mark.parametrize("name", ["NearerByStyle", "NearerByThumbnail"])
def test_the_share_nearer_to_the_real_than_to_the_rival_is_counted_pair_by_pair(name: str) -> None:
    evidence = Evidence(
        ("a", "b", "c", "d"),
        tuned=plain(BLACK, GREY - 10, GREY + 10, WHITE),
        base=plain(WHITE, WHITE, WHITE, 100),
        real=plain(*[BLACK] * 4),
        rival=plain(*[WHITE] * 4),
    )
    measurement = RIVAL_METRICS[name](evidence)
    assert (measurement.result.base, measurement.result.tuned) == (0.25, 0.5)
    assert measurement.figures[f"{name}.tuned"] == [1, 1, 0, 0]
    assert not measurement.result.lower_is_better


def test_without_a_base_only_the_tuned_value_is_told() -> None:
    evidence = Evidence(("a",), tuned=plain(BLACK), real=plain(WHITE))
    result = REAL_METRICS["StyleDistance"](evidence).result
    assert result.base is None
    assert result.difference is None
    assert result.interval is None
    assert result.tuned is not None
    assert result.tuned > 0.5
