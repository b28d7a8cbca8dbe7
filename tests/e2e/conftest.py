"""Diptych, installed by its chart on the cluster of these tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.shell import ROOT, Shell

if TYPE_CHECKING:
    from cluster.node.access import Access

HOME = "diptych-system"
TRANSCRIPTS = Path(os.environ.get("DIPTYCH_E2E_TRANSCRIPTS") or ROOT / ".pytest_cache" / "e2e")
CHOSEN = "--set ray.headCpus=250m,ray.headMemory=3Gi"
"""A node of two cores has room for a head and a worker."""


@pytest.fixture(scope="session")
def installed(node: "Access", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Yield a shell to a cluster on which the chart was installed as its page tells."""
    shell = Shell(node.kubeconfig, tmp_path_factory.mktemp("install") / "transcript.txt")
    operator, ray = node.load(node.images.operator), node.load(node.images.ray)
    repository, _, tag = operator.rpartition(":")
    shell(
        f"helm install diptych charts/diptych -n {HOME} --create-namespace"
        f" --set image.repository={repository},image.tag={tag},ray.image={ray} {CHOSEN} --wait --timeout 5m",
        timeout_s=330,
    )
    yield shell
    shell(f"helm uninstall diptych -n {HOME} --wait", timeout_s=180)


@pytest.fixture
def shell(installed: Shell, node_namespace: str, request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """Return a shell whose commands are about a namespace of the test's own."""
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(installed.kubeconfig, kubeconfig)
    TRANSCRIPTS.mkdir(parents=True, exist_ok=True)
    transcript = TRANSCRIPTS / f"{request.node.name}.txt"
    transcript.unlink(missing_ok=True)
    shell = Shell(kubeconfig, transcript)
    shell(f"kubectl config set-context --current --namespace {node_namespace}")
    return shell
