"""Many jobs that report at the same time: whether their statuses keep up."""

import asyncio
import itertools
from dataclasses import dataclass
from functools import partial
from typing import Final

from cluster.control_plane import ControlPlane
from cluster.objects import reference
from diptych_api import names
from diptych_bench.figures import percentile
from diptych_bench.operator_bars import Bar, Outcome
from diptych_bench.operator_cost import cpu_by_part, spent
from diptych_bench.operator_job import training
from diptych_bench.operator_load import Load, loading, paced
from diptych_bench.operator_patterns import played_patterns, store_copies
from diptych_bench.operator_plane import NAMESPACE, started_plane
from diptych_bench.operator_process import USER, started_operator
from diptych_bench.operator_requests import Request, requests_since
from diptych_operator.kinds import FINE_TUNE_JOB, FINE_TUNE_REPORT

MILLISECONDS: Final = 1000
PERCENT: Final = 100
FIRST_STEP: Final = 20


@dataclass(frozen=True, slots=True)
class Reports:
    """How many jobs report, how often, for how long."""

    jobs: int = 1000
    every_s: float = 10
    rounds: int = 6

    @property
    def per_second(self) -> float:
        """Return how many reports come in a second."""
        return self.jobs / self.every_s


def reports(effort: Reports) -> Outcome:
    """Let jobs report, and look when their statuses tell it."""
    wanted = [f"busy-{number:05}" for number in range(effort.jobs)]
    with started_plane() as plane:
        running = played_patterns(plane).running
        store_copies(plane, running, wanted)
        with started_operator(plane) as operator:
            operator.settle(least=effort.jobs)
            mark, used = plane.audit.mark(), cpu_by_part(plane, operator)
            late = asyncio.run(_reported(plane, wanted, effort))
            behind = _behind(plane, wanted, FIRST_STEP + effort.rounds - 1)
            used = spent(used, cpu_by_part(plane, operator))
            operator.settle()
            behind_in_the_end = _behind(plane, wanted, FIRST_STEP + effort.rounds - 1)
            requests = requests_since(plane.audit.log, mark)
            peak = operator.peak_mib()
    lags, statuses = _lags_ms(requests), _statuses(requests)
    seconds = effort.rounds * effort.every_s
    bars = [
        Bar("reports a second", round(effort.per_second, 1)),
        Bar("status writes a second", round(len(statuses) / seconds, 1), effort.per_second),
        Bar("from report to status, p50", percentile(lags, 50), unit="ms"),
        Bar("from report to status, p99", percentile(lags, 99), MILLISECONDS * effort.every_s, "ms"),
        Bar("jobs whose status is behind when the last had reported", behind),
        Bar("jobs whose status is behind when all is quiet", behind_in_the_end, 0),
        *(Bar(f"CPU of {name}", round(PERCENT * cost / seconds, 1), unit="% of a core") for name, cost in used.items()),
        Bar("CPU for a report", _each_ms(used["operator"], effort.rounds * effort.jobs), unit="ms"),
        Bar("CPU for a report, with the status", _each_ms(used["operator"], len(statuses)), unit="ms"),
        Bar("most memory of the operator", peak, unit="MiB"),
    ]
    return Outcome(bars, {"load_late_s": late})


def _each_ms(seconds: float, count: int) -> float:
    return round(MILLISECONDS * seconds / count, 2)


async def _reported(plane: ControlPlane, wanted: list[str], effort: Reports) -> float:
    """Let each job report in its turn, round by round."""
    turns = itertools.product(range(effort.rounds), wanted)
    async with loading(plane) as load:
        return await paced(turns, effort.per_second, partial(_report, load))


async def _report(load: Load, turn: tuple[int, str]) -> None:
    number, name = turn
    target = reference(FINE_TUNE_REPORT.api_version, FINE_TUNE_REPORT.kind, names.report_name(name), NAMESPACE)
    await load.merge(target, {"spec": training(FIRST_STEP + number)})


def _behind(plane: ControlPlane, wanted: list[str], step: int) -> int:
    """Return how many jobs do not tell of this step in their status."""
    found = plane.api.listed(FINE_TUNE_JOB.api_version, FINE_TUNE_JOB.kind, NAMESPACE)
    told = {job["metadata"]["name"]: job["status"].get("progress", {}).get("step") for job in found}
    return sum(1 for name in wanted if told[name] != step)


def _statuses(requests: list[Request]) -> list[Request]:
    return [r for r in requests if r.user == USER and r.resource == FINE_TUNE_JOB.plural and r.part == "status"]


def _lags_ms(requests: list[Request]) -> list[float]:
    """Return for each report the time from its end to that of the first status write of its job that began later."""
    written: dict[str, list[Request]] = {}
    for request in _statuses(requests):
        written.setdefault(request.name, []).append(request)
    lags = []
    for said in (r for r in requests if r.resource == FINE_TUNE_REPORT.plural and r.verb == "patch"):
        later = [r.ended for r in written.get(said.name, ()) if r.received >= said.received]
        if later:
            lags.append(round(MILLISECONDS * (min(later) - said.ended), 2))
    return lags
