"""The limits on requests, seconds and money, as a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from diptych_api.limits import RateLimit

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
MONTH: Final = 30 * DAY
Measure = Literal["requests", "seconds", "cost"]
Scope = Literal["session", "ip", "key", "total"]
"""Whose a limit is; total is of all clients together."""
UNITS: Final = {
    ("requests", HOUR): "requests an hour",
    ("requests", DAY): "requests a day",
    ("requests", MONTH): "requests a month",
    ("seconds", DAY): "seconds of drawing a day",
    ("cost", DAY): "of money a day",
    ("cost", MONTH): "of money a month",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """At most ``limit`` of something in each window."""

    reason: str
    scope: Scope
    measure: Measure
    length_s: float
    limit: float

    @property
    def unit(self) -> str:
        """What there is a number of, as people say it."""
        return UNITS[self.measure, self.length_s]

    @property
    def outlives(self) -> bool:
        """Whether its counts survive a restart."""
        return self.scope == "total" and self.length_s >= DAY

    def counted(self, address: str) -> str:
        """Return under which name a client's requests count."""
        return address if self.scope == "ip" else ""


def rules(limits: RateLimit) -> Iterator[Rule]:
    """Yield the rules that are set, in the order in which they are asked."""
    ip, total, cost = limits.ip, limits.total, limits.cost
    table: list[tuple[str, Scope, Measure, float, float | None]] = [
        ("IPRequestsPerHour", "ip", "requests", HOUR, ip.max_requests_per_hour),
        ("IPRequestsPerDay", "ip", "requests", DAY, ip.max_requests_per_day),
        ("IPSecondsPerDay", "ip", "seconds", DAY, ip.max_active_seconds_per_day),
        ("TotalRequestsPerHour", "total", "requests", HOUR, total.max_requests_per_hour),
        ("TotalRequestsPerDay", "total", "requests", DAY, total.max_requests_per_day),
        ("TotalSecondsPerDay", "total", "seconds", DAY, total.max_active_seconds_per_day),
        ("DailyCost", "total", "cost", DAY, cost.daily_limit),
        ("TotalRequestsPerMonth", "total", "requests", MONTH, total.max_requests_per_month),
        ("MonthlyCost", "total", "cost", MONTH, cost.monthly_limit),
    ]
    yield from (Rule(*row[:4], float(row[4])) for row in table if row[4] is not None)
