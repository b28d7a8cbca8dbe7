"""What tests of faults may ask for."""

import logging
import os
from collections.abc import Callable, Iterator

import pytest
import structlog

from cluster.control_plane import ControlPlane
from cluster.fixtures import NUMBERS, create_namespace
from cluster.kubeconfig import write_kubeconfig
from cluster.objects import reference
from cluster.player import Player
from cluster.proxy import Proxy
from support.helm import HOME
from support.operator_process import STEADY, OperatorProcess
from support.rights import ACCOUNT, GATEWAYS, install_account
from support.stage import Stage


@pytest.fixture(autouse=True)
def _only_errors() -> Iterator[None]:
    """Keep thousands of reconciles out of the captured log, but for those that fail."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.configure(**before)


@pytest.fixture(scope="module")
def proxy(control_plane: ControlPlane) -> Iterator[Proxy]:
    """Yield a proxy in front of the API server."""
    with Proxy(control_plane.url, control_plane.authority.certificate) as between:
        yield between


@pytest.fixture(scope="module")
def operator_settings() -> dict[str, object]:
    """Return what a module sets differently."""
    return STEADY


@pytest.fixture(scope="module")
def idle_operator(
    control_plane: ControlPlane,
    proxy: Proxy,
    operator_settings: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> OperatorProcess:
    """Return an operator behind the proxy, under the chart's account, that is not started yet."""
    install_account(control_plane, GATEWAYS)
    folder = tmp_path_factory.mktemp("operator")
    token = control_plane.token_for(HOME, ACCOUNT)
    kubeconfig = write_kubeconfig(folder / "kubeconfig.yaml", proxy.url, control_plane.authority.certificate, token)
    process = OperatorProcess(kubeconfig, folder, "operator", **{"lease_namespace": HOME, **operator_settings})
    proxy.victim = process.kill
    return process


@pytest.fixture(scope="module")
def operator(idle_operator: OperatorProcess) -> Iterator[OperatorProcess]:
    """Yield it running; at the end, its log must have nothing that no healthy operator says."""
    with idle_operator:
        yield idle_operator
    assert idle_operator.complaints() == []


@pytest.fixture
def new_stage(control_plane: ControlPlane, player: Player) -> Iterator[Callable[[], Stage]]:
    """Yield a maker of fresh namespaces with everybody but the operator."""
    made: list[str] = []

    def make() -> Stage:
        made.append(f"fault-{os.getpid()}-{next(NUMBERS)}")
        create_namespace(control_plane, made[-1])
        return Stage(control_plane.api, player, made[-1])

    yield make
    for space in (reference("v1", "Namespace", name) for name in made):
        if control_plane.api.is_there(space):
            control_plane.api.delete(space)


@pytest.fixture
def stage(new_stage: Callable[[], Stage]) -> Stage:
    """Return one such namespace."""
    return new_stage()
