"""kube-scheduler, which gives pods to nodes."""

from pathlib import Path

from cluster.apiserver import ADMINISTRATORS
from cluster.control_plane import ControlPlane
from cluster.kubeconfig import write_kubeconfig
from cluster.ports import free_port
from cluster.rest import Rest
from cluster.server import Server
from cluster.tools import find


class Scheduler:
    """The scheduler beside a control plane."""

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        port = free_port()
        user = plane.authority.issue("kube-scheduler", groups=[ADMINISTRATORS], hosts=["127.0.0.1"])
        self.api = Rest(f"https://127.0.0.1:{port}", plane.authority.certificate, user)
        config = folder / "kubeconfigs" / "kube-scheduler.yaml"
        settings = {
            "kubeconfig": write_kubeconfig(config, plane.url, plane.authority.certificate, user),
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "tls-cert-file": user.certificate,
            "tls-private-key-file": user.key,
            "leader-elect": "false",
        }
        flags = [f"--{name}={value}" for name, value in settings.items()]
        self.server = Server([find("kube-scheduler"), *flags], folder / "logs" / "kube-scheduler.log")

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        self.server.start(lambda: self.api.is_ready("/healthz"))

    def stop(self) -> None:
        """End it."""
        self.api.close()
        self.server.stop()
