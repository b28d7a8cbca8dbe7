"""The real KubeRay operator, beside a control plane."""

from collections.abc import Sequence
from pathlib import Path

import httpx2

from cluster.apiserver import ADMINISTRATORS
from cluster.control_plane import ControlPlane
from cluster.kubeconfig import write_kubeconfig
from cluster.ports import free_port
from cluster.server import Server
from cluster.tools import find

USER = "kuberay-operator"


class KubeRay:
    """KubeRay, which watches the namespaces that it is given and no others."""

    def __init__(self, plane: ControlPlane, namespaces: Sequence[str]) -> None:
        self.namespaces = tuple(namespaces)
        self.health = f"127.0.0.1:{free_port()}"
        user = plane.authority.issue(USER, groups=[ADMINISTRATORS])
        path = plane.folder / "kubeconfigs" / f"{USER}.yaml"
        config: Path = write_kubeconfig(path, plane.url, plane.authority.certificate, user)
        settings = {
            "kubeconfig": config,
            "watch-namespace": ",".join(self.namespaces),
            "health-probe-bind-address": self.health,
            "metrics-addr": f"127.0.0.1:{free_port()}",
            "enable-leader-election": "false",
            "use-kubernetes-proxy": "true",
            "reconcile-concurrency": 4,
        }
        flags = [f"--{name}={value}" for name, value in settings.items()]
        self.server = Server([find("ray-operator"), *flags], plane.folder / "logs" / "ray-operator.log")

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.server.start(self._is_ready)

    def stop(self) -> None:
        """End it. What it made stays."""
        self.server.stop()

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"http://{self.health}/readyz", trust_env=False).is_success
        except httpx2.TransportError:
            return False
