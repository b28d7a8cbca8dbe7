"""What tests ask for to get a cluster. One control plane serves all tests of a pytest process.

Every pytest process loads this module, so what takes time to import is imported where a test asks for it.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.objects import reference
from support.waiting import until

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane
    from cluster.kuberay import KubeRay
    from cluster.object_server import Bucket, ObjectServer
    from cluster.player import Player
    from cluster.ray_pods import RayPods
    from cluster.registry_server import RegistryServer

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
NUMBERS = itertools.count(1)
KUBERAY_NAMESPACES = [f"kuberay-{number}" for number in range(1, 17)]
LEFT = iter(KUBERAY_NAMESPACES)

PROGRAMS = {
    "control_plane": ("etcd", "kube-apiserver", "kube-controller-manager"),
    "kuberay": ("ray-operator",),
    "object_server": ("versitygw",),
    "registry_server": ("registry", "oras"),
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the tests will start, before the clock of the first test runs."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ()) if name in PROGRAMS}
    if wanted and not session.config.option.collectonly:
        from cluster.tools import find  # noqa: PLC0415 - takes time

        for name in sorted(wanted):
            for program in PROGRAMS[name]:
                find(program)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator["ControlPlane"]:
    """Yield the control plane of this run. Its folder, with logs, stays in pytest's."""
    from cluster.control_plane import ControlPlane  # noqa: PLC0415 - takes time

    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def namespace(control_plane: "ControlPlane") -> Iterator[str]:
    """Yield a fresh namespace that holds pods to the restricted standard."""
    name = f"test-{os.getpid()}-{next(NUMBERS)}"
    create_namespace(control_plane, name)
    yield name
    remove_namespace(control_plane, name)


@pytest.fixture(scope="session")
def kuberay(control_plane: "ControlPlane") -> Iterator["KubeRay"]:
    """Yield the real KubeRay, which watches the namespaces of ``kuberay_namespace``."""
    from cluster.kuberay import KubeRay  # noqa: PLC0415 - takes time

    operator = KubeRay(control_plane, KUBERAY_NAMESPACES)
    operator.start()
    yield operator
    operator.stop()


@pytest.fixture
def kuberay_namespace(control_plane: "ControlPlane", kuberay: "KubeRay") -> Iterator[str]:
    """Yield a fresh namespace in which KubeRay works."""
    name = next(LEFT)
    create_namespace(control_plane, name)
    yield name
    remove_namespace(control_plane, name)


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["ObjectServer"]:
    """Yield a real S3 server, and tell this process and its children where it is."""
    from cluster.object_server import ObjectServer  # noqa: PLC0415 - takes time

    server = ObjectServer(tmp_path_factory.mktemp("object-server"))
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.stop()


@pytest.fixture
def registry_server(tmp_path: Path) -> Iterator["RegistryServer"]:
    """Yield a real OCI registry with nothing in it."""
    from cluster.registry_server import RegistryServer  # noqa: PLC0415 - takes time

    server = RegistryServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(object_server: "ObjectServer") -> "Bucket":
    """Return a fresh bucket."""
    return object_server.bucket(f"bucket-{os.getpid()}-{next(NUMBERS)}")


@pytest.fixture(scope="session")
def player(control_plane: "ControlPlane") -> "Player":
    """Return who plays KubeRay in all other namespaces."""
    from cluster.player import Player  # noqa: PLC0415 - takes time

    return Player(control_plane.client("status-player"))


@pytest.fixture(scope="session")
def ray_pods(control_plane: "ControlPlane") -> "RayPods":
    """Return who makes the pods of the RayJobs and RayServices that the player plays."""
    from cluster.ray_pods import RayPods  # noqa: PLC0415 - takes time

    return RayPods(control_plane.client("pod-player"))


def create_namespace(plane: "ControlPlane", name: str) -> None:
    """Make a namespace and wait until pods can be made in it."""
    space = reference("v1", "Namespace", name)
    space["metadata"]["labels"] = RESTRICTED
    plane.api.create(space)
    until(lambda: plane.api.is_there(reference("v1", "ServiceAccount", "default", name)))


def remove_namespace(plane: "ControlPlane", name: str) -> None:
    """Ask for a namespace's end without waiting for it, unless the test ended it or took the API server away."""
    space = reference("v1", "Namespace", name)
    if plane.api.is_ready() and plane.api.is_there(space):
        plane.api.delete(space)
