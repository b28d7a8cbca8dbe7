"""An operator that works, and a namespace with everybody else in it."""

from collections.abc import Iterator

import pytest

from cluster.control_plane import ControlPlane
from cluster.player import Player
from support.helm import HOME
from support.operator_process import STEADY, OperatorProcess
from support.rights import ACCOUNT, GATEWAYS, install_account
from support.stage import Stage


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """Yield an operator under the chart's own account; at the end, its log must have no complaint."""
    install_account(control_plane, GATEWAYS)
    folder = tmp_path_factory.mktemp("operator")
    kubeconfig = control_plane.kubeconfig_for(HOME, ACCOUNT)
    process = OperatorProcess(kubeconfig, folder, "operator", **STEADY, lease_namespace=HOME, gateway_api=True)
    with process:
        yield process
    assert process.complaints() == []


@pytest.fixture
def stage(control_plane: ControlPlane, namespace: str, player: Player) -> Stage:
    """Return a fresh namespace with everybody but the operator."""
    return Stage(control_plane.api, player, namespace)
