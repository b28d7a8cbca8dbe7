"""Watches that swallow, stall, break, repeat and expire: what is stored counts, not what was heard."""

from collections.abc import Iterator

import pytest

from cluster.fault_plan import Answer, Drop, Fault, Hold, Match, Replay, Reset
from cluster.proxy import Proxy
from diptych_api import names
from diptych_operator.kinds import FINE_TUNE_JOB, NETWORK_POLICY, RAY_JOB
from support.memory_moves import JOB, job_spec
from support.operator_process import STEADY, OperatorProcess
from support.stage import Stage
from support.tale import at_rest
from support.waiting import until

pytestmark = pytest.mark.integration
RESYNC_S = 10
RAY_JOBS = Match(verb="watch", resource="rayjobs")


@pytest.fixture(scope="module")
def operator_settings() -> dict[str, object]:
    """Look at everything every ten seconds."""
    return STEADY | {"resync_seconds": RESYNC_S}


@pytest.fixture
def running(stage: Stage, operator: OperatorProcess, proxy: Proxy) -> Iterator[Stage]:
    """Yield a namespace with a job whose pods start."""
    stage.create(job_spec())
    until(lambda: stage.find(RAY_JOB, JOB) is not None)
    stage.play(RAY_JOB, JOB, "Initializing")
    until(lambda: stage.phase(FINE_TUNE_JOB, JOB) == "Provisioning")
    at_rest(proxy)
    yield stage
    proxy.calm()


def test_what_a_watch_swallows_is_found_by_the_next_look(running: Stage, proxy: Proxy) -> None:
    proxy.arm(Fault(RAY_JOBS, Drop(), "event", times=0))
    running.play(RAY_JOB, JOB, "WorkersStarting", "Submitting", "Running")
    until(lambda: running.phase(FINE_TUNE_JOB, JOB) == "Running")


def test_a_watch_that_stalls_hides_nothing_and_its_late_news_change_nothing(running: Stage, proxy: Proxy) -> None:
    hold = Hold()
    proxy.arm(Fault(RAY_JOBS, hold, "event", times=0))
    running.play(RAY_JOB, JOB, "WorkersStarting", "Submitting")
    running.play(RAY_JOB, JOB, "Running")
    until(lambda: running.phase(FINE_TUNE_JOB, JOB) == "Running")
    at_rest(proxy)
    before = len(proxy.writes(running.namespace))
    hold.gate.set()
    at_rest(proxy)
    assert running.phase(FINE_TUNE_JOB, JOB) == "Running"
    assert proxy.writes(running.namespace)[before:] == []


def test_a_watch_that_breaks_is_taken_up_again_with_what_it_missed(running: Stage, proxy: Proxy) -> None:
    proxy.arm(Fault(RAY_JOBS, Reset(), times=3))
    proxy.cut(RAY_JOBS)
    running.play(RAY_JOB, JOB, "WorkersStarting", "Submitting", "Running")
    until(lambda: running.phase(FINE_TUNE_JOB, JOB) == "Running")


def test_old_news_told_again_take_nothing_back(running: Stage, proxy: Proxy) -> None:
    proxy.arm(Fault(RAY_JOBS, Replay(), "event", times=0))
    running.play(RAY_JOB, JOB, "WorkersStarting", "Submitting", "Running")
    until(lambda: running.phase(FINE_TUNE_JOB, JOB) == "Running")
    at_rest(proxy)
    assert running.phase(FINE_TUNE_JOB, JOB) == "Running"
    assert running.status(FINE_TUNE_JOB, JOB)["attempt"] == 1


def test_a_deletion_that_is_swallowed_is_found_by_the_next_look(running: Stage, proxy: Proxy) -> None:
    name = names.job_policy_name(JOB)
    known = running.uid(NETWORK_POLICY, name)
    proxy.arm(Fault(Match(verb="watch", resource="networkpolicies", event="DELETED"), Drop(), "event"))
    running.delete(NETWORK_POLICY, name)
    until(lambda: running.uid(NETWORK_POLICY, name) not in ("", known))


def test_kinds_that_an_api_server_does_not_tell_of_yet_are_waited_for(operator: OperatorProcess, proxy: Proxy) -> None:
    """For kopf asks once which kinds there are, and never watches what was not told."""
    known = operator.told("cannot work yet")
    operator.kill()
    proxy.cut(Match())
    until(lambda: "rayjobs" not in proxy.watched())
    proxy.arm(Fault(Match(verb="discover", group="ray.io"), Answer(404)))
    operator.start()
    until(lambda: {"rayjobs", "rayservices"} <= proxy.watched())
    assert operator.told("cannot work yet") > known
