"""What is left of the limits that a client has."""

from collections.abc import Iterator

from pydantic import BaseModel, Field

from diptych_serving.rate_limit import Client, RateLimiter
from diptych_serving.rate_rules import Scope


class Allowance(BaseModel):
    """A limit that is set, and what is left of it."""

    reason: str = Field(description="The limit's name, as a refusal tells it.")
    scope: Scope = Field(description="Whose it is; total is everybody's.")
    unit: str = Field(description="What there is a number of.")
    limit: float = Field(description="As much as it can be.")
    remaining: float = Field(description="What is left now; 0 or more.")
    resets_in_seconds: float | None = Field(description="When all of it is there again; null where waiting is no help.")


class LimitsReply(BaseModel):
    """The limits of a client."""

    limits: list[Allowance] = Field(description="What is left of each one that is set.")


def allowances(limiter: RateLimiter, client: Client, now: float) -> list[Allowance]:
    """Return what is left of each limit, in the order in which they are asked. Counts nothing.

    Money is its owner's affair: only a refusal tells of a budget.
    """
    return [*_session(limiter, client, now), *_windows(limiter, client, now), *_work(limiter, client, now)]


def _session(limiter: RateLimiter, client: Client, now: float) -> Iterator[Allowance]:
    used, age = limiter.sessions.used(client.session, now)
    limit = limiter.limits.session
    for reason, unit, most, gone in (
        ("SessionTooOld", "seconds in this session", limit.max_age_seconds, age),
        ("SessionRequests", "requests in this session", limit.max_requests, used),
    ):
        if client.session is not None and most is not None:
            yield _left(reason, "session", unit, most, most - gone, None)


def _windows(limiter: RateLimiter, client: Client, now: float) -> Iterator[Allowance]:
    for rule in (rule for rule in limiter.rules if rule.measure != "cost"):
        window = limiter.window(rule, client, now)
        ends_in = window.left_s(now) if window.used else 0.0
        yield _left(rule.reason, rule.scope, rule.unit, rule.limit, rule.limit - window.used, ends_in)


def _work(limiter: RateLimiter, client: Client, now: float) -> Iterator[Allowance]:
    for (scope, _), bucket in limiter.shares(client, now).items():
        full_in = bucket.wait_s(bucket.size)
        yield _left("WorkPerMinute", scope, "work units a minute", bucket.size, bucket.tokens, full_in)


def _left(reason: str, scope: Scope, unit: str, limit: float, remaining: float, resets_s: float | None) -> Allowance:
    left = max(0.0, remaining)
    return Allowance(reason=reason, scope=scope, unit=unit, limit=limit, remaining=left, resets_in_seconds=resets_s)
