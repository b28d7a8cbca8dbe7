"""What end-to-end tests ask for. One node, or the cluster that was given, serves all tests of a pytest process."""

import itertools
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cluster.node.access import Access

OPERATOR_IMAGE, RAY_IMAGE = "DIPTYCH_OPERATOR_IMAGE", "DIPTYCH_RAY_IMAGE"
BUSYBOX_IMAGE, VERSITYGW_IMAGE = "DIPTYCH_BUSYBOX_IMAGE", "DIPTYCH_VERSITYGW_IMAGE"
# A kubeconfig alone may be anybody's: a cluster is given together with images that it can pull.
GIVING = ("KUBECONFIG", OPERATOR_IMAGE, RAY_IMAGE)
NUMBERS = itertools.count(1)


def is_given() -> bool:
    """Return whether the environment names a cluster to use."""
    return all(os.environ.get(name) for name in GIVING)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install and build what a node needs, before the clock of the first test runs."""
    wanted = any("node" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not is_given() and not session.config.option.collectonly:
        from cluster.node.requirements import require  # noqa: PLC0415 - takes time
        from cluster.tools import TOOLS, find  # noqa: PLC0415 - takes time

        require()
        for program in TOOLS:
            find(program)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what explains a failure, before the test's namespace goes."""
    report = yield
    access = getattr(item, "funcargs", {}).get("node")
    if report.failed and access:
        folder = access.failures / item.name
        access.collect(folder)
        report.sections.append(("cluster", f"Objects, events and logs are in {folder}"))
    return report


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Access"]:
    """Yield the cluster: the one that was given, or a node of this machine."""
    with opened(tmp_path_factory.mktemp("node")) as access:
        yield access


@contextmanager
def opened(folder: Path) -> Iterator["Access"]:
    """Yield the cluster: the one that was given, or a node that runs in the folder for the time of the body."""
    from cluster.node.access import Access, Images  # noqa: PLC0415 - takes time
    from cluster.node.node import running_node  # noqa: PLC0415 - takes time
    from cluster.node.programs import BUSYBOX, VERSITYGW  # noqa: PLC0415 - takes time

    failures = Path(os.environ.get("DIPTYCH_E2E_LOGS") or folder.with_name(f"{folder.name}-failures"))
    if is_given():
        images = Images(
            os.environ[OPERATOR_IMAGE],
            os.environ[RAY_IMAGE],
            os.environ.get(BUSYBOX_IMAGE) or "docker.io/busybox:1.37",
            os.environ.get(VERSITYGW_IMAGE) or "docker.io/versity/versitygw:v1.0.20",
        )
        yield Access(Path(os.environ["KUBECONFIG"]), images, failures)
        return
    with running_node(folder) as running:
        images = Images(
            os.environ.get(OPERATOR_IMAGE) or "localhost/diptych/operator:dev",
            os.environ.get(RAY_IMAGE) or "localhost/diptych/ray:dev",
            BUSYBOX,
            VERSITYGW,
        )
        yield Access(running.plane.admin_kubeconfig, images, failures, running)


@contextmanager
def fresh_namespace(node: "Access") -> Iterator[str]:
    """Yield a new namespace that holds pods to the restricted standard."""
    name = f"e2e-{os.getpid()}-{next(NUMBERS)}"
    node.kubectl("create", "namespace", name)
    node.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    node.kubectl("delete", "namespace", name, "--wait=false")
