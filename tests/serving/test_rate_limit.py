"""Limits on a clock of our own: whatever is set holds, and lets go again in time."""

import json
from typing import Any

import pytest

from diptych_api.errors import SpecInvalid
from diptych_api.limits import RateLimit
from diptych_serving.ad_variables import FIELDS, with_variables
from diptych_serving.rate_limit import Client, RateLimiter, Refusal
from diptych_serving.rate_rules import DAY, HOUR, MONTH

ANNA, BERTA = Client("10.0.0.1", "anna"), Client("10.0.0.2", "berta")


def limiter(**limits: Any) -> RateLimiter:
    return RateLimiter(RateLimit.model_validate(limits))


def reason(refusal: Refusal | None) -> str | None:
    return None if refusal is None else refusal.reason


# Limit, what is allowed, seconds of drawing of each request, reason, after how long it lets go, whether it is shared.
TABLE: list[tuple[dict[str, Any], int, float, str, float, bool]] = [
    ({"ip": {"maxRequestsPerHour": 3}}, 3, 1, "IPRequestsPerHour", HOUR, False),
    ({"ip": {"maxRequestsPerDay": 3}}, 3, 1, "IPRequestsPerDay", DAY, False),
    ({"ip": {"maxActiveSecondsPerDay": 20}}, 2, 10, "IPSecondsPerDay", DAY, False),
    ({"total": {"maxRequestsPerHour": 3}}, 3, 1, "TotalRequestsPerHour", HOUR, True),
    ({"total": {"maxRequestsPerDay": 3}}, 3, 1, "TotalRequestsPerDay", DAY, True),
    ({"total": {"maxRequestsPerMonth": 3}}, 3, 1, "TotalRequestsPerMonth", MONTH, True),
    ({"total": {"maxActiveSecondsPerDay": 20}}, 2, 10, "TotalSecondsPerDay", DAY, True),
    ({"cost": {"perSecond": 0.5, "dailyLimit": 10}}, 2, 10, "DailyCost", DAY, True),
    ({"cost": {"perSecond": 0.5, "monthlyLimit": 10}}, 2, 10, "MonthlyCost", MONTH, True),
]


@pytest.mark.parametrize(("limits", "allowed", "seconds", "why", "length", "shared"), TABLE)
def test_each_limit_holds_and_lets_go_when_its_window_ends(
    *, limits: dict[str, Any], allowed: int, seconds: float, why: str, length: float, shared: bool
) -> None:
    limits_held, start = limiter(**limits), 1000.0
    for number in range(allowed):
        assert limits_held.admit(ANNA, 1, start + number) is None
        limits_held.finished(ANNA, seconds, start + number, succeeded=True)
    refusal = limits_held.admit(ANNA, 1, start + 60)
    assert reason(refusal) == why
    assert refusal is not None
    assert refusal.retry_after_s is not None
    assert refusal.retry_after_s == pytest.approx(length - 60)
    assert reason(limits_held.admit(BERTA, 1, start + 60)) == (why if shared else None)
    assert limits_held.admit(ANNA, 1, start + 60 + refusal.retry_after_s) is None


def test_a_refusal_says_how_long_to_wait() -> None:
    held = limiter(ip={"maxRequestsPerHour": 1})
    held.admit(ANNA, 1, 0)
    refusal = held.admit(ANNA, 1, HOUR - 252)
    assert refusal is not None
    assert refusal.message == "The limit of this address is reached: 1 requests an hour. Try again in 4.2 minutes."


def test_a_session_has_a_number_of_requests_and_an_age() -> None:
    held = limiter(session={"maxRequests": 2, "maxAgeSeconds": 900})
    assert [reason(held.admit(ANNA, 1, now)) for now in (0, 1, 2)] == [None, None, "SessionRequests"]
    assert [reason(held.admit(BERTA, 1, now)) for now in (0, 900)] == [None, "SessionTooOld"]
    assert held.admit(Client("10.0.0.1"), 1, 3) is None


def test_a_session_is_given_back_what_failed_but_not_what_is_still_going_on() -> None:
    held = limiter(session={"maxRequests": 1})
    assert held.admit(ANNA, 1, 0) is None
    assert reason(held.admit(ANNA, 1, 1)) == "SessionRequests"
    held.finished(ANNA, 5, 6, succeeded=False)
    assert held.admit(ANNA, 1, 7) is None


def test_quiet_sessions_are_forgotten_and_no_more_are_kept_than_allowed() -> None:
    held = limiter(session={"maxRequests": 1, "ttlSeconds": 100, "maxSessions": 2})
    for number in range(3):
        held.admit(Client("ip", str(number)), 1, number)
    assert len(held.sessions) == 2
    assert held.admit(Client("ip", "0"), 1, 3) is None
    assert reason(held.admit(Client("ip", "2"), 1, 50)) == "SessionRequests"
    assert held.admit(Client("ip", "2"), 1, 103) is None


@pytest.mark.parametrize("scope", ["perSession", "perIp", "perKey", "total"])
def test_work_comes_back_steadily(scope: str) -> None:
    held, client = limiter(work={scope: 60}), Client("10.0.0.1", "anna", "key")
    assert held.admit(client, 50, 0) is None
    refusal = held.admit(client, 20, 0)
    assert reason(refusal) == "WorkPerMinute"
    assert refusal is not None
    assert refusal.retry_after_s == pytest.approx(10)
    assert held.admit(client, 20, 10) is None
    too_large = held.admit(client, 61, 1000)
    assert too_large is not None
    assert (too_large.reason, too_large.retry_after_s) == ("WorkTooLarge", None)


def test_what_is_refused_counts_nowhere() -> None:
    held = limiter(ip={"maxRequestsPerHour": 1}, total={"maxRequestsPerHour": 3}, session={"maxRequests": 2})
    for _ in range(5):
        held.admit(ANNA, 1, 0)
    assert [reason(held.admit(Client(str(n)), 1, 1)) for n in range(3)] == [None, None, "TotalRequestsPerHour"]


def test_day_and_month_budgets_survive_a_restart() -> None:
    limits = {"total": {"maxRequestsPerDay": 2, "maxRequestsPerHour": 1}, "cost": {"monthlyLimit": 1, "perSecond": 0.1}}
    before = limiter(**limits)
    before.admit(ANNA, 1, 0)
    before.finished(ANNA, 5, 5, succeeded=True)
    after = limiter(**limits)
    after.restore(json.loads(json.dumps(before.snapshot())), 6)
    assert after.admit(ANNA, 1, 10) is None
    after.finished(ANNA, 5, 15, succeeded=True)
    assert [reason(after.admit(ANNA, 1, now)) for now in (HOUR + 11, DAY + 1)] == ["TotalRequestsPerDay", "MonthlyCost"]


def test_addresses_that_came_once_are_not_kept_for_ever() -> None:
    held = limiter(ip={"maxRequestsPerHour": 5}, work={"perIp": 60})
    for number in range(1000):
        held.admit(Client(str(number)), 1, 0)
    held.admit(ANNA, 1, 2 * HOUR)
    assert (len(held.windows), len(held.buckets)) == (1, 1)


def test_the_variables_of_astro_diffusion_set_their_limits() -> None:
    environment = {name: str(number) for number, name in enumerate(FIELDS, start=1)}
    limits = with_variables(RateLimit.model_validate({"ip": {"maxRequestsPerDay": 99}}), environment)
    assert [getattr(getattr(limits, part), field) for part, field in FIELDS.values()] == list(range(1, 13))
    assert with_variables(RateLimit(), {}) == RateLimit()
    with pytest.raises(SpecInvalid, match="AD_IP_MAX_REQ_DAY=many"):
        with_variables(RateLimit(), {"AD_IP_MAX_REQ_DAY": "many"})


def test_other_limits_keep_what_was_counted() -> None:
    held = limiter(ip={"maxRequestsPerHour": 3}, session={"maxRequests": 2})
    for _ in range(2):
        assert held.admit(ANNA, 1, 0) is None
    changed = held.with_limits(RateLimit.model_validate({"ip": {"maxRequestsPerHour": 2}}))
    assert reason(changed.admit(ANNA, 1, 1)) == "IPRequestsPerHour"
    sessions = held.with_limits(RateLimit.model_validate({"session": {"maxRequests": 2}}))
    assert reason(sessions.admit(ANNA, 1, 1)) == "SessionRequests"


def test_what_is_given_back_twice_gives_no_more_than_there_was() -> None:
    held = limiter(session={"maxRequests": 1})
    assert held.admit(ANNA, 1, 0) is None
    for _ in range(3):
        held.finished(ANNA, 1, 0, succeeded=False)
    assert held.admit(ANNA, 1, 0) is None
    assert reason(held.admit(ANNA, 1, 0)) == "SessionRequests"
