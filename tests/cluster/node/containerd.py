"""containerd, which runs a node's containers and keeps their images over restarts of the node."""

import json
from pathlib import Path

from cluster.node.namespaces import Namespaces
from cluster.node.network import PODS
from cluster.server import Server
from diptych_api.errors import RunFailed
from support.waiting import until

SOCKET = "/run/containerd/containerd.sock"  # in the node's own /run
PLUGINS = "/usr/lib/cni"
# Without CAP_SYS_RESOURCE no process may be made less likely to be killed than we are.
CONFIG = """\
version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{pause}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "diptych",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni/networks",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


class Containerd:
    """The container runtime. Images lie in a folder of their own; containers end with the namespaces."""

    def __init__(self, folder: Path, images: Path, namespaces: Namespaces, pause: str) -> None:
        self.namespaces = namespaces
        networks = folder / "networks"
        networks.mkdir()
        (networks / "diptych.conflist").write_text(json.dumps(NETWORK), encoding="utf-8")
        config = folder / "containerd.toml"
        config.write_text(
            CONFIG.format(root=images, socket=SOCKET, pause=pause, plugins=PLUGINS, networks=networks), encoding="utf-8"
        )
        command = namespaces.inside("containerd", "--config", config)
        self.server = Server(command, folder / "logs" / "containerd.log")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.server.start(self._answers)

    def crash(self) -> None:
        """End it at once. It runs behind nsenter, which hands no signals on."""
        self.namespaces.run("pkill", "-KILL", "-x", "containerd")  # of the node's own processes
        until(lambda: not self.server.is_running)

    def _answers(self) -> bool:
        try:
            self.namespaces.run("ctr", "version")
        except RunFailed:
            return False
        return True
