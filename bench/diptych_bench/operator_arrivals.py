"""From the creation of a job to its RayJob: one after the other beside many that are there, and all at once."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cluster.control_plane import ControlPlane
from diptych_bench.figures import percentile
from diptych_bench.operator_bars import Bar, Outcome
from diptych_bench.operator_job import job
from diptych_bench.operator_load import Load, all_of, loading, paced
from diptych_bench.operator_patterns import played_patterns, store_copies
from diptych_bench.operator_plane import await_stored, started_plane
from diptych_bench.operator_process import OperatorProcess, started_operator
from diptych_bench.operator_requests import Request, first_ends, requests_since
from diptych_operator.kinds import NETWORK_POLICY, RAY_JOB

MILLISECONDS: Final = 1000
P50_MS, P99_MS, ALL_S = 100, 1000, 60
CHILDREN: Final = (RAY_JOB, NETWORK_POLICY)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How many jobs are there, how many come a second, for how long."""

    present: int = 1000
    per_second: float = 5
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class Burst:
    """How many jobs come at once."""

    jobs: int = 1000


def arriving(effort: Arrivals) -> Outcome:
    """Let jobs arrive one after the other beside others that have ended."""
    with started_plane() as plane:
        ended = played_patterns(plane).ended
        store_copies(plane, ended, _names("old", effort.present))
        with started_operator(plane) as operator:
            operator.settle(least=effort.present)
            mark, cpu_s = plane.audit.mark(), operator.cpu_s()
            wanted = list(_names("new", int(effort.per_second * effort.seconds)))
            late = asyncio.run(_loaded(plane, lambda load: paced(wanted, effort.per_second, partial(_create, load))))
            _await_children(plane, effort.present + 1 + len(wanted))
            operator.settle()
            cost = operator.cpu_s() - cpu_s
        requests = requests_since(plane.audit.log, mark)
    taken = _taken_ms(requests, wanted)
    bars = [
        Bar("from create to the RayJob, p50", percentile(taken, 50), P50_MS, "ms"),
        Bar("from create to the RayJob, p99", percentile(taken, 99), P99_MS, "ms"),
        Bar("CPU for a new job", round(MILLISECONDS * cost / len(wanted), 1), unit="ms"),
    ]
    return Outcome(bars, {"taken_ms": sorted(taken), "load_late_s": late})


def burst(effort: Burst) -> Outcome:
    """Create many jobs as fast as the API server takes them."""
    with started_plane() as plane, started_operator(plane) as operator:
        mark, wanted = plane.audit.mark(), list(_names("all", effort.jobs))
        asyncio.run(_loaded(plane, lambda load: all_of(wanted, partial(_create, load))))
        _await_children(plane, len(wanted))
        operator.settle()
        costs = _costs(operator)
        requests = requests_since(plane.audit.log, mark)
    created = [request for request in requests if request.resource == "finetunejobs" and request.verb == "create"]
    first, last = min(r.received for r in created), max(r.ended for r in created)
    made = max(max(first_ends(requests, kind.plural).values()) for kind in CHILDREN)
    bars = [
        Bar("from the first create until all have children", round(made - first, 2), ALL_S, "s"),
        Bar("of that: until all were created", round(last - first, 2), unit="s"),
        Bar("CPU of the operator, its start included", costs["cpu_s"], unit="s"),
        Bar("most memory of the operator", costs["peak_mib"], unit="MiB"),
    ]
    return Outcome(bars, costs)


def _costs(operator: OperatorProcess) -> dict[str, float]:
    return {
        "cpu_s": round(operator.cpu_s(), 2),
        "resident_mib": operator.resident_mib(),
        "peak_mib": operator.peak_mib(),
    }


async def _loaded(plane: ControlPlane, work: Any) -> Any:  # noqa: ANN401 - whatever the work returns
    async with loading(plane) as load:
        return await work(load)


async def _create(load: Load, name: str) -> None:
    await load.create(job(name))


def _await_children(plane: ControlPlane, count: int) -> None:
    for kind in CHILDREN:
        await_stored(plane, kind, count)


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:05}" for number in range(count)]


def _taken_ms(requests: list[Request], wanted: list[str]) -> list[float]:
    """Return for each job the milliseconds from the receipt of its creation to the answer that its RayJob is there."""
    begun = {r.name: r.received for r in requests if r.resource == "finetunejobs" and r.verb == "create"}
    made = first_ends(requests, "rayjobs")
    return [round(MILLISECONDS * (made[name] - begun[name]), 2) for name in wanted]
