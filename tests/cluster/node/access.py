"""The cluster of the end-to-end tests: a node of this machine, or a cluster that was given."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.kubectl import kubectl
from cluster.node.node import Node
from cluster.node.programs import versitygw
from cluster.tools import find
from diptych_api.errors import RunFailed, UnsupportedHere
from support.helm import helm

FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class Images:
    """References of the images that tests use."""

    operator: str
    ray: str
    busybox: str
    versitygw: str


@dataclass(frozen=True, slots=True)
class Access:
    """What tests may do with the cluster. Failures are explained in a folder; a given cluster has no ``node``."""

    kubeconfig: Path
    images: Images
    failures: Path
    node: Node | None = None

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Return what kubectl prints. Raises CalledProcessError, with what it said in ``stderr``."""
        return kubectl(self.kubeconfig, *arguments, stdin=stdin)

    def helm(self, *arguments: str | Path, values: dict[str, Any] | None = None) -> str:
        """Return what Helm prints. Raises CalledProcessError, with what it said in ``stderr``."""
        return helm(*arguments, kubeconfig=self.kubeconfig, values=values)

    def load(self, reference: str) -> str:
        """Bring an image of buildah's to the node and return its name. A given cluster pulls it by itself."""
        if self.node:
            self.node.images.load(reference)
        return reference

    def load_versitygw(self) -> str:
        """Bring the image of an S3 server to the node and return its name."""
        if self.node:
            self.node.images.add([versitygw()])
        return self.images.versitygw

    def inside(self, *command: str | Path) -> str:
        """Run a command of this machine in the node's network, where pods and Services have addresses."""
        if not self.node:
            raise UnsupportedHere("only a node of this machine can be entered", hint="Use `forwarded` or a pod.")
        return self.node.namespaces.run(*command)

    def restart_runtime(self) -> None:
        """Crash the container runtime and start it anew."""
        if not self.node:
            raise UnsupportedHere("the container runtime of a given cluster is not ours to crash", hint="Leave it out.")
        self.node.restart_runtime()

    @contextmanager
    def forwarded(self, target: str, port: int, namespace: str) -> Iterator[int]:
        """Yield a port of 127.0.0.1 that leads to a pod or a Service's pod, such as ``service/NAME``."""
        place = [f"--kubeconfig={self.kubeconfig}", f"--namespace={namespace}"]
        command: list[str | Path] = [find("kubectl"), *place, "port-forward", target, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forwarding:
            try:
                assert forwarding.stdout
                said = forwarding.stdout.readline()
                if not (found := FORWARDED.match(said)):
                    raise RunFailed(f"no way to port {port} of {target}: {said.strip()}")
                yield int(found[1])
            finally:
                forwarding.terminate()

    def collect(self, folder: Path) -> None:
        """Write what explains a failure: objects, events and logs of pods; of our node, logs of its programs too."""
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(subprocess.CalledProcessError):  # the cluster may be what failed
            self.kubectl("cluster-info", "dump", "--all-namespaces", "--output=yaml", f"--output-directory={folder}")
        if self.node:
            shutil.copytree(self.node.folder / "logs", folder / "programs", dirs_exist_ok=True)
            shutil.copytree(self.node.folder / "var-log" / "pods", folder / "pods", dirs_exist_ok=True)
