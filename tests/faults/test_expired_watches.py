"""410: a watch is too old, everything is listed anew, and nobody tells what vanished meanwhile."""

from collections.abc import Iterator

import pytest

from cluster.fault_plan import Expire, Fault, Match
from cluster.proxy import Proxy
from diptych_api import names
from diptych_operator.kinds import NETWORK_POLICY, RAY_JOB, Kind
from support.memory_moves import JOB, job_spec
from support.operator_process import OperatorProcess
from support.stage import Stage
from support.tale import at_rest
from support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.integration


@pytest.fixture
def made(stage: Stage, operator: OperatorProcess, proxy: Proxy) -> Iterator[Stage]:
    """Yield a namespace with a job that has its children."""
    stage.create(job_spec())
    until(lambda: stage.find(RAY_JOB, JOB) is not None)
    at_rest(proxy)
    yield stage
    proxy.calm()


@pytest.mark.parametrize(("kind", "name"), [(RAY_JOB, JOB), (NETWORK_POLICY, names.job_policy_name(JOB))])
def test_what_vanished_while_a_watch_was_too_old_is_made_again(
    kind: Kind, name: str, made: Stage, proxy: Proxy
) -> None:
    known = made.uid(kind, name)
    fault = Fault(
        Match(verb="watch", resource=kind.plural, namespace=made.namespace, event="DELETED"), Expire(), "event"
    )
    proxy.arm(fault)
    made.delete(kind, name)
    assert fault.struck.wait(PATIENCE_S)
    until(lambda: made.uid(kind, name) not in ("", known))
