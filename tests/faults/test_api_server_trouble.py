"""An API server that refuses, is overloaded, hangs up or restarts: everything comes to its end all the same."""

from collections.abc import Callable

import pytest

from cluster.control_plane import ControlPlane
from cluster.fault_plan import Answer, Hang, Match, Reset, Storm
from cluster.proxy import Proxy
from diptych_operator.kinds import FINE_TUNE_JOB, RAY_JOB
from support.masking import masked_namespace
from support.memory_moves import JOB, job_spec
from support.operator_process import OperatorProcess
from support.stage import Stage
from support.tale import at_rest, must_end, tell, while_alive
from support.waiting import until
from support.workloads import WORKLOADS

pytestmark = pytest.mark.integration
SEED = 20261127
SHARE = 0.2
"""Of all requests, in place of the 5 % that a bad day has: a story is short."""
TROUBLES = (Answer(429), Answer(500), Answer(504), Reset(), Hang())
CONFLICTS = Match(verb="patch")
"""Of a create or a delete, a conflict is an answer: there is one already, or it is another one now."""


@pytest.fixture(scope="module")
def operator_settings() -> dict[str, object]:
    """Give up soon on what hangs."""
    return {"request_timeout_s": 3}


@pytest.mark.parametrize("name", ["create", "promote", "suspend_and_resume"])
def test_a_storm_of_errors_changes_no_end(
    name: str, new_stage: Callable[[], Stage], operator: OperatorProcess, proxy: Proxy
) -> None:
    calm, stormy = new_stage(), new_stage()
    tell(WORKLOADS[name](calm), operator)
    at_rest(proxy)
    storm = Storm(TROUBLES, SHARE, SEED)
    proxy.arm(storm, Storm((Answer(409),), SHARE / 4, SEED, CONFLICTS))
    tell(WORKLOADS[name](stormy), operator)
    proxy.calm()
    must_end(stormy, operator, masked_namespace(calm.api, calm.namespace))
    assert storm.count >= 3, "hardly anything was struck"


def test_a_restart_of_the_api_server_is_survived(
    stage: Stage, operator: OperatorProcess, control_plane: ControlPlane
) -> None:
    """An operator whose Lease runs out meanwhile ends, and is started again as Kubernetes would."""
    stage.create(job_spec())
    until(lambda: stage.find(RAY_JOB, JOB) is not None)
    control_plane.stop_apiserver(kill=True)
    control_plane.start_apiserver()
    stage.play(RAY_JOB, JOB, "Initializing")
    until(while_alive(operator, lambda: stage.phase(FINE_TUNE_JOB, JOB) == "Provisioning"))
