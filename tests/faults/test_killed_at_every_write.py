"""kill -9 before and after writes, on a real API server: each story ends as if nothing had happened.

Each story is told once undisturbed; then with kills all along it, after writes and before them. With
DIPTYCH_FAULTS=all it is told once for every single write and either side.
"""

import os
from collections.abc import Callable

import pytest

from cluster.fault_plan import Fault, Kill, Match, Side
from cluster.proxy import Proxy
from support.masking import masked_namespace
from support.operator_process import OperatorProcess
from support.stage import Stage
from support.tale import at_rest, must_end, tell
from support.workloads import WORKLOADS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]
EVERYTHING = os.environ.get("DIPTYCH_FAULTS") == "all"
KILLS = 6
"""About so many kills in one telling."""
SIDES: tuple[Side, ...] = ("after", "before")


@pytest.mark.parametrize("name", WORKLOADS)
def test_killed_all_along_a_story_ends_as_it_would_have_ended(
    name: str,
    new_stage: Callable[[], Stage],
    operator: OperatorProcess,
    proxy: Proxy,
) -> None:
    proxy.calm()
    stage = new_stage()
    tell(WORKLOADS[name](stage), operator)
    at_rest(proxy)
    end, writes = masked_namespace(stage.api, stage.namespace), len(proxy.writes(stage.namespace))
    for fault in plan(writes):
        stage, starts = new_stage(), operator.starts
        fault.match = Match(writes=True, namespace=stage.namespace)
        proxy.arm(fault)
        tell(WORKLOADS[name](stage), operator)
        must_end(stage, operator, end)
        assert operator.starts > starts, f"{fault} never struck"
        proxy.calm()


def plan(writes: int) -> list[Fault]:
    """Return the kills of the tellings of one story. A write that was killed before it happened comes again."""
    if EVERYTHING:
        return [Fault(Match(), Kill(), side, nth=nth) for nth in range(1, writes + 1) for side in SIDES]
    stride = max(1, round(writes / KILLS))
    return [
        Fault(Match(), Kill(), "after", times=0, every=stride),
        Fault(Match(), Kill(), "before", times=0, every=stride + 1, nth=2),
    ]
