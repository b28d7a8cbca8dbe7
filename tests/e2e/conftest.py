"""Diptych, installed by its chart on the cluster of these tests."""

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.node.fixtures import fresh_namespace
from e2e.installing import HOME, install
from e2e.recording import recorded
from e2e.shell import TRANSCRIPTS, Shell

if TYPE_CHECKING:
    from cluster.node.access import Access


@pytest.fixture(scope="session")
def installed(node: "Access") -> Iterator[Shell]:
    """Yield a shell to a cluster on which the chart was installed as its page tells."""
    for earlier in TRANSCRIPTS.glob("*.txt"):
        earlier.unlink()
    shell = Shell(node.kubeconfig, _transcript("install"))
    shell(install(node), timeout_s=330)
    record = os.environ.get("DIPTYCH_E2E_RECORD")
    with recorded(node.kubeconfig, Path(record)) if record else nullcontext():
        yield shell
    shell.quietly(f"helm uninstall diptych -n {HOME} --wait", timeout_s=180)


@pytest.fixture
def shell(installed: Shell, node: "Access", request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    """Yield a shell whose commands are about a namespace of the test's own."""
    with fresh_namespace(node) as namespace:
        yield _shell(installed, namespace, tmp_path, request.node.name)


@pytest.fixture(scope="module")
def shared_shell(
    installed: Shell, node: "Access", request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    """Yield a shell whose commands are about a namespace that the tests of a file share."""
    with fresh_namespace(node) as namespace:
        yield _shell(installed, namespace, tmp_path_factory.mktemp("shell"), request.path.stem)


def _shell(installed: Shell, namespace: str, folder: Path, name: str) -> Shell:
    kubeconfig = folder / "kubeconfig"
    shutil.copy(installed.kubeconfig, kubeconfig)
    shell = Shell(kubeconfig, _transcript(name))
    shell(f"kubectl config set-context --current --namespace {namespace}")
    return shell


def _transcript(name: str) -> Path:
    TRANSCRIPTS.mkdir(parents=True, exist_ok=True)
    transcript = TRANSCRIPTS / f"{name}.txt"
    transcript.unlink(missing_ok=True)
    return transcript
