"""Two replicas, one Lease: at any time at most one of them writes, and the other one takes over."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from cluster.control_plane import ControlPlane
from cluster.kubeconfig import write_kubeconfig
from cluster.proxy import Proxy
from diptych_operator.kinds import FINE_TUNE_JOB, RAY_JOB
from support.helm import HOME
from support.memory_moves import JOB, job_spec
from support.operator_process import OperatorProcess
from support.rights import ACCOUNT, install_account
from support.stage import Stage
from support.waiting import until

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True)
class Replica:
    """An operator behind a proxy of its own, which knows what this one writes."""

    process: OperatorProcess
    proxy: Proxy

    def writes(self, stage: Stage) -> int:
        """Return how many writes it made in a namespace."""
        return len(self.proxy.writes(stage.namespace))


@pytest.fixture
def replicas(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Replica, Replica]]:
    """Yield the one that leads and the one that waits."""
    install_account(control_plane, {})
    authority, token = control_plane.authority.certificate, control_plane.token_for(HOME, ACCOUNT)
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        made = []
        for name in ("one", "other"):
            proxy = stack.enter_context(Proxy(control_plane.url, authority))
            config = write_kubeconfig(folder / f"{name}.yaml", proxy.url, authority, token)
            made.append(Replica(OperatorProcess(config, folder, name, lease_namespace=HOME), proxy))
            stack.callback(made[-1].process.end)
        made[0].process.start()
        made[1].process.start(leading=False)
        yield made[0], made[1]
        assert [replica.process.complaints() for replica in made] == [[], []]


@pytest.fixture
def led(new_stage: Callable[[], Stage], replicas: tuple[Replica, Replica]) -> Stage:
    """Return a namespace in which the first one made a job's children."""
    stage = new_stage()
    stage.create(job_spec())
    until(lambda: stage.phase(FINE_TUNE_JOB, JOB) == "Pending" and stage.find(RAY_JOB, JOB) is not None)
    assert replicas[1].writes(stage) == 0
    return stage


def test_the_other_one_takes_over_from_one_that_is_killed(led: Stage, replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    one.process.kill()
    led.play(RAY_JOB, JOB, "Initializing")
    until(lambda: led.phase(FINE_TUNE_JOB, JOB) == "Provisioning")
    assert other.writes(led) > 0


def test_one_that_was_stopped_for_a_while_writes_nothing_once_it_is_back(
    led: Stage, replicas: tuple[Replica, Replica]
) -> None:
    one, other = replicas
    one.process.pause()
    led.play(RAY_JOB, JOB, "Initializing")
    until(lambda: led.phase(FINE_TUNE_JOB, JOB) == "Provisioning")
    written, theirs = one.writes(led), other.writes(led)
    one.process.resume()
    until(lambda: not one.process.is_running)
    led.play(RAY_JOB, JOB, "WorkersStarting", "Submitting")
    until(lambda: led.phase(FINE_TUNE_JOB, JOB) == "Starting")
    assert one.writes(led) == written
    assert other.writes(led) > theirs


def test_one_that_is_told_to_stop_hands_over_at_once(led: Stage, replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    one.process.stop()
    led.play(RAY_JOB, JOB, "Initializing")
    until(lambda: led.phase(FINE_TUNE_JOB, JOB) == "Provisioning")
    assert other.writes(led) > 0
