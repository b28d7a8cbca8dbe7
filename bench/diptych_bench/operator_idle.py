"""Many jobs at which nothing happens any more: what they cost, and how long a start takes beside them."""

import time
from dataclasses import dataclass
from typing import Final

from cluster.control_plane import ControlPlane
from diptych_bench.operator_bars import Bar, Outcome
from diptych_bench.operator_patterns import played_patterns, store_copies
from diptych_bench.operator_plane import started_plane
from diptych_bench.operator_process import USER, OperatorProcess
from diptych_bench.operator_requests import Request, requests_since

CALLS_A_SECOND, START_S = 5, 60
MOST_MIB: Final = {1000: 150, 10_000: 300}
PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Idle:
    """How many jobs have ended, and for how many seconds that is watched. All are compared every 300 s."""

    steps: tuple[tuple[int, int], ...] = ((1000, 60), (10_000, 120))


def idle(effort: Idle) -> Outcome:
    """Start the operator beside so many jobs, and watch it."""
    bars: list[Bar] = []
    requests: dict[str, list[str]] = {}
    with started_plane() as plane:
        pattern, there = played_patterns(plane).ended, 1
        for count, seconds in effort.steps:
            names = [f"ended-{number:05}" for number in range(there, count)]
            store_copies(plane, pattern, names)
            there = count
            bars += _watched(plane, count, seconds, requests)
    return Outcome(bars, {"writes": requests})


def _watched(plane: ControlPlane, count: int, seconds: int, found: dict[str, list[str]]) -> list[Bar]:
    operator, mark, began = OperatorProcess(plane), plane.audit.mark(), time.monotonic()
    try:
        operator.start()
        consistent_s, started_cpu_s = operator.settle(least=count) - began, operator.cpu_s()
        writes = _writes(requests_since(plane.audit.log, mark, USER))
        found[f"start beside {count} jobs"] = writes
        bars = [
            Bar(f"{count} jobs: from start to consistent", round(consistent_s, 1), START_S, "s"),
            Bar(f"{count} jobs: writes meanwhile", len(writes), 0),
            Bar(f"{count} jobs: CPU meanwhile", round(started_cpu_s, 1), unit="s"),
        ]
        mark, began = plane.audit.mark(), time.monotonic()
        time.sleep(seconds)
        watched_s, cpu_s = time.monotonic() - began, operator.cpu_s() - started_cpu_s
        requests = requests_since(plane.audit.log, mark, USER)
        found[f"idle beside {count} jobs"] = _writes(requests)
        calls = len([request for request in requests if not request.is_lease])
        return [
            *bars,
            Bar(f"{count} jobs: memory", operator.resident_mib(), MOST_MIB.get(count), "MiB"),
            Bar(f"{count} jobs: most memory ever", operator.peak_mib(), unit="MiB"),
            Bar(f"{count} jobs, idle: API calls", round(len(requests) / watched_s, 2), CALLS_A_SECOND, "a second"),
            Bar(f"{count} jobs, idle: API calls apart from the Lease", round(calls / watched_s, 2), unit="a second"),
            Bar(f"{count} jobs, idle: writes apart from the Lease", len(_writes(requests)), 0),
            Bar(f"{count} jobs, idle: CPU", round(PERCENT * cpu_s / watched_s, 2), unit="% of a core"),
        ]
    finally:
        operator.stop()
        operator.web.close()


def _writes(requests: list[Request]) -> list[str]:
    """Return what was written, the Lease apart; the first hundred."""
    written = [request for request in requests if request.is_write and not request.is_lease]
    return [f"{request.verb} {request.resource}/{request.part} {request.name}" for request in written][:100]
