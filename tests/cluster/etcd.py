"""etcd: one member on loopback, which forgets to sync since nobody needs its data after a power cut."""

from pathlib import Path

import httpx2

from cluster.ports import free_port
from cluster.server import Server
from cluster.tools import find


class Etcd:
    """The store of one control plane."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        peers = f"http://127.0.0.1:{free_port()}"
        settings = {
            "data-dir": folder / "etcd",
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"default={peers}",
            "log-level": "warn",
            "quota-backend-bytes": 4 * 2**30,
        }
        flags = [f"--{name}={value}" for name, value in settings.items()]
        self.server = Server([find("etcd"), *flags, "--unsafe-no-fsync"], folder / "logs" / "etcd.log")

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        self.server.start(self._is_healthy)

    def stop(self) -> None:
        """End it. Its data stays."""
        self.server.stop()

    def _is_healthy(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health", trust_env=False).is_success
        except httpx2.TransportError:
            return False
