"""What is left of limits, on a clock of our own: as much as is let in before a refusal, and nothing of money."""

from typing import Any

import pytest

from diptych_api.limits import RateLimit
from diptych_serving.allowances import Allowance, allowances
from diptych_serving.rate_limit import Client, RateLimiter
from diptych_serving.rate_rules import DAY, HOUR, MINUTE

ANNA = Client("10.0.0.1", "anna", "key")
MANY: dict[str, Any] = {
    "session": {"maxRequests": 5, "maxAgeSeconds": 900},
    "ip": {"maxRequestsPerHour": 4, "maxActiveSecondsPerDay": 60},
    "total": {"maxRequestsPerDay": 3},
    "cost": {"perSecond": 1, "dailyLimit": 10},
    "work": {"perSession": 60, "perIp": 120, "perKey": 240, "total": 480},
}


def limiter(**limits: Any) -> RateLimiter:
    return RateLimiter(RateLimit.model_validate(limits))


def told(held: RateLimiter, client: Client, now: float) -> dict[tuple[str, str], Allowance]:
    return {(one.reason, one.scope): one for one in allowances(held, client, now)}


def test_all_of_each_limit_is_left_to_who_never_asked() -> None:
    left = told(limiter(**MANY), ANNA, 1000)
    assert {name: (one.remaining, one.limit) for name, one in left.items()} == {
        ("SessionTooOld", "session"): (900, 900),
        ("SessionRequests", "session"): (5, 5),
        ("IPRequestsPerHour", "ip"): (4, 4),
        ("IPSecondsPerDay", "ip"): (60, 60),
        ("TotalRequestsPerDay", "total"): (3, 3),
        ("WorkPerMinute", "session"): (60, 60),
        ("WorkPerMinute", "ip"): (120, 120),
        ("WorkPerMinute", "key"): (240, 240),
        ("WorkPerMinute", "total"): (480, 480),
    }
    assert {one.resets_in_seconds for one in left.values()} == {0, None}


def test_what_was_used_is_gone_until_its_window_ends() -> None:
    held = limiter(**MANY)
    assert held.admit(ANNA, 30, 1000) is None
    held.finished(ANNA, 15, 1010, succeeded=True)
    left = told(held, ANNA, 1010)
    expected = {
        ("SessionTooOld", "session"): (890, None),
        ("SessionRequests", "session"): (4, None),
        ("IPRequestsPerHour", "ip"): (3, HOUR - 10),
        ("IPSecondsPerDay", "ip"): (45, DAY),
        ("TotalRequestsPerDay", "total"): (2, DAY - 10),
        ("WorkPerMinute", "session"): (40, MINUTE / 3),
    }
    for name, (remaining, resets) in expected.items():
        assert (left[name].remaining, left[name].resets_in_seconds) == pytest.approx((remaining, resets)), name
    assert told(held, ANNA, 1010 + HOUR)["IPRequestsPerHour", "ip"].remaining == 4


def test_as_many_are_let_in_as_are_left_and_never_less_than_none() -> None:
    held = limiter(ip={"maxRequestsPerHour": 4, "maxActiveSecondsPerDay": 1})
    for left in (4, 3, 2, 1):
        assert told(held, ANNA, 0)["IPRequestsPerHour", "ip"].remaining == left
        assert held.admit(ANNA, 1, 0) is None
    assert held.admit(ANNA, 1, 0) is not None
    held.finished(ANNA, 100, 1, succeeded=True)
    assert {one.remaining for one in told(held, ANNA, 1).values()} == {0}


def test_who_only_looks_leaves_nothing_behind() -> None:
    held = limiter(**MANY)
    for number in range(100):
        allowances(held, Client(f"10.0.1.{number}", f"made up {number}", f"{number}"), 0)
    assert (len(held.buckets), len(held.windows), len(held.sessions)) == (0, 0, 0)


def test_without_a_session_there_is_none_to_tell_of() -> None:
    assert {one.scope for one in allowances(limiter(**MANY), Client("10.0.0.1"), 0)} == {"ip", "total"}
