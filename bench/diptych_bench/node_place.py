"""A real node with Diptych installed by its chart, for a benchmark."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.node import prepare
from cluster.node.fixtures import fresh_namespace, opened
from diptych_bench.node_milestones import is_ready
from diptych_bench.node_watch import Watch, watched_namespace
from diptych_operator.kinds import POD, Kind
from e2e.installing import HOME, install
from e2e.shell import Shell
from support.waiting import until

MOST_S: Final = 1200


@dataclass(frozen=True, slots=True)
class Place:
    """A shell whose commands are about a namespace of an installed Diptych, and what the installation was like."""

    shell: Shell
    namespace: str
    installation: Watch
    began: float
    """When `helm install` was typed."""

    def watched(self, *kinds: Kind) -> AbstractContextManager[Watch]:
        """Return a watch of some kinds of this namespace, for the time of a body."""
        return watched_namespace(self.shell.kubeconfig, self.namespace, kinds)

    def delete(self, what: str) -> None:
        """Delete an object and wait until no pod of Ray's is left."""
        self.shell(f"kubectl delete {what} --wait", timeout_s=MOST_S)
        until(lambda: not self.shell.told("pods -l ray.io/cluster", ".items[*].metadata.name"), MOST_S, every_s=1)


@contextmanager
def installed() -> Iterator[Place]:
    """Start a node, or take the cluster that was given; install Diptych, and take all down in the end."""
    prepare.main()
    with tempfile.TemporaryDirectory(prefix="diptych-bench-") as scratch, opened(Path(scratch) / "node") as access:
        shell = Shell(access.kubeconfig, Path(scratch) / "transcript.txt")
        command = install(access)  # brings the images
        try:
            with watched_namespace(access.kubeconfig, HOME, (POD,)) as watch:
                began = time.monotonic()
                shell(command, timeout_s=330)
                watch.wait(lambda sight: is_ready(sight.thing), MOST_S)
            with fresh_namespace(access) as namespace:
                shell(f"kubectl config set-context --current --namespace {namespace}")
                yield Place(shell, namespace, watch, began)
        finally:
            shell(f"helm uninstall diptych -n {HOME} --wait --ignore-not-found", timeout_s=180)
