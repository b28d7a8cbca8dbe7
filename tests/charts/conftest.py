"""A cluster that has KubeRay's definitions and none of ours: the chart brings them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane


@pytest.fixture(scope="session")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["ControlPlane"]:
    """Yield a control plane without our definitions."""
    from cluster.control_plane import ControlPlane  # noqa: PLC0415 - takes time

    with ControlPlane.start(tmp_path_factory.mktemp("bare-cluster"), own_crds=False) as plane:
        yield plane
