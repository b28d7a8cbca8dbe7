"""How often clients may ask: one policy for all replicas and both protocols. Time comes from the caller.

Windows are fixed and begin with their first hit. A request counts when it is let in; seconds and money count when the
work is done; a session's request is given back when it fails.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from diptych_api.limits import RateLimit
from diptych_serving.rate_rules import HOUR, MINUTE, Measure, Rule, Scope, rules
from diptych_serving.sessions import Sessions
from diptych_serving.windows import Bucket, Window, sweep


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, as far as it is known."""

    ip: str
    session: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in, and in how many seconds it may be; None when waiting does not help."""

    reason: str
    message: str
    retry_after_s: float | None


@dataclass
class RateLimiter:
    """The counts of every client. Not safe for threads: one actor holds it."""

    limits: RateLimit
    sessions: Sessions = field(init=False)
    windows: dict[tuple[Rule, str], Window] = field(default_factory=dict)
    buckets: dict[tuple[Scope, str], Bucket] = field(default_factory=dict)

    swept: float = 0.0

    def __post_init__(self) -> None:
        """Read the rules."""
        self.rules = tuple(rules(self.limits))
        self.sessions = Sessions(self.limits.session)

    def with_limits(self, limits: RateLimit) -> "RateLimiter":
        """Return a limiter with other limits that remembers what this one counted."""
        other = RateLimiter(limits, swept=self.swept)
        same = {rule.reason: rule for rule in other.rules}
        for (rule, name), window in self.windows.items():
            if rule.reason in same:
                other.windows[same[rule.reason], name] = window
        other.sessions = self.sessions.with_limit(limits.session)
        return other

    def admit(self, client: Client, work_units: float, now: float) -> Refusal | None:
        """Count a request and return None, or count nothing and return why it is refused."""
        if now - self.swept >= MINUTE:
            self.swept = now
            sweep(self.windows, now)
            sweep(self.buckets, now)
        refusal = self._session(client, now) or self._window(client, now) or self._work(client, work_units, now)
        if refusal is not None:
            return refusal
        self.sessions.take(client.session, now)
        self._add(client, "requests", 1, now)
        for key, bucket in self.shares(client, now).items():
            bucket.take(work_units)
            self.buckets[key] = bucket
        return None

    def finished(self, client: Client, seconds: float, now: float, *, succeeded: bool) -> None:
        """Count the work of a request that was let in."""
        self._add(client, "seconds", seconds, now)
        self._add(client, "cost", seconds * self.limits.cost.per_second, now)
        if not succeeded:
            self.sessions.give_back(client.session)

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the counts of days and months over all clients, as JSON values: what must survive a restart."""
        kept = [(rule, window) for (rule, _), window in self.windows.items() if rule.outlives]
        return [{"reason": rule.reason, "start": window.start, "used": window.used} for rule, window in kept]

    def restore(self, counts: list[dict[str, Any]], now: float) -> None:
        """Add what snapshot returned to what was counted since; counts of rules that are no longer set are forgotten.

        A window that is said to begin later than now begins now: a clock that was set back locks nobody out.
        """
        known = {rule.reason: rule for rule in self.rules if rule.outlives}
        for count in counts:
            rule = known.get(count["reason"])
            if rule is None:
                continue
            kept = Window(rule.length_s, min(float(count["start"]), now), float(count["used"]))
            if not kept.is_over(now):
                since = self.windows.get((rule, ""), Window(rule.length_s, now))
                self.windows[rule, ""] = Window(rule.length_s, min(kept.start, since.start), kept.used + since.used)

    def _session(self, client: Client, now: float) -> Refusal | None:
        refused = self.sessions.refusal(client.session, now)
        return None if refused is None else Refusal(refused[0], refused[1], None)

    def _window(self, client: Client, now: float) -> Refusal | None:
        for rule in self.rules:
            window = self.window(rule, client, now)
            if window.used >= rule.limit:
                wait_s = window.left_s(now)
                asked = "the service" if rule.scope == "total" else "this address"
                message = f"The limit of {asked} is reached: {rule.limit:g} {rule.unit}."
                return Refusal(rule.reason, f"{message} Try again in {in_words(wait_s)}.", wait_s)
        return None

    def _work(self, client: Client, work_units: float, now: float) -> Refusal | None:
        for bucket in self.shares(client, now).values():
            wait_s = bucket.wait_s(work_units)
            if math.isinf(wait_s):
                message = f"The request is worth {work_units:g} work units; {bucket.size:g} a minute are allowed."
                return Refusal("WorkTooLarge", f"{message} Ask for fewer pictures or steps.", None)
            if wait_s > 0:
                message = f"More than {bucket.size:g} work units a minute. Try again in {in_words(wait_s)}."
                return Refusal("WorkPerMinute", message, wait_s)
        return None

    def window(self, rule: Rule, client: Client, now: float) -> Window:
        """Return the window that goes on, or one that would begin now."""
        window = self.windows.get((rule, rule.counted(client.ip)))
        return Window(rule.length_s, now) if window is None or window.is_over(now) else window

    def _add(self, client: Client, measure: Measure, amount: float, now: float) -> None:
        for rule in self.rules:
            if rule.measure == measure:
                window = self.windows[rule, rule.counted(client.ip)] = self.window(rule, client, now)
                window.used += amount

    def shares(self, client: Client, now: float) -> dict[tuple[Scope, str], Bucket]:
        """Return the buckets that a client's work comes from, by scope and name, or full ones that would begin now."""
        work = self.limits.work
        scopes: dict[Scope, tuple[str | None, float | None]] = {
            "session": (client.session, work.per_session),
            "ip": (client.ip, work.per_ip),
            "key": (client.key, work.per_key),
            "total": ("", work.total),
        }
        found = {}
        for scope, (name, size) in scopes.items():
            if name is not None and size is not None:
                bucket = self.buckets.get((scope, name)) or Bucket(size, MINUTE, now)
                bucket.fill(now)
                found[scope, name] = bucket
        return found


def in_words(seconds: float) -> str:
    """Return a wait as people say it: `40 seconds`, `4.2 minutes`, `3.0 hours`."""
    if seconds < MINUTE:
        return f"{math.ceil(seconds)} seconds"
    return f"{seconds / MINUTE:.1f} minutes" if seconds < HOUR else f"{seconds / HOUR:.1f} hours"
