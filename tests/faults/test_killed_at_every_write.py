"""kill -9 before and after writes, on a real API server: each story ends as if nothing had happened.

Each story is told once undisturbed; then with kills all along it, after writes and before them. With
DIPTYCH_FAULTS=all every single write is struck on either side: no operator lives to make a second one.
"""

import logging
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
_log = logging.getLogger(__name__)


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
        stage = new_stage()
        fault.match = Match(writes=True, namespace=stage.namespace)
        proxy.arm(fault)
        tell(WORKLOADS[name](stage), operator)
        must_end(stage, operator, end)
        proxy.calm()
        _log.info("%s: %d writes undisturbed, %d kills %s writes", name, writes, fault.count, fault.side)
        assert fault.count, fault


def plan(writes: int) -> list[Fault]:
    """Return the kills of the tellings of one story. A write that was killed before it happened comes again."""
    if EVERYTHING:
        return [Fault(Match(), Kill(), side, times=0, once=side == "before") for side in SIDES]
    stride = max(1, round(writes / KILLS))
    return [
        Fault(Match(), Kill(), "after", times=0, every=stride),
        Fault(Match(), Kill(), "before", times=0, every=stride + 1, nth=2),
    ]
