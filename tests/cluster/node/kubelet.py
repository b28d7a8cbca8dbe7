"""kubelet, which makes a node of the namespaces."""

from pathlib import Path

import yaml

from cluster.control_plane import ControlPlane
from cluster.kubeconfig import write_kubeconfig
from cluster.node.containerd import SOCKET
from cluster.node.namespaces import Namespaces
from cluster.node.network import DNS, NODE
from cluster.server import Server
from cluster.tools import find

NAME = "diptych-node"
NODES = "system:nodes"


def kubelet(folder: Path, namespaces: Namespaces, plane: ControlPlane) -> Server:
    """Return the kubelet, not yet started."""
    user = plane.authority.issue(f"system:node:{NAME}", groups=[NODES])
    serving = plane.authority.issue("kubelet", hosts=[NODE, NAME])
    config = folder / "kubelet.yaml"
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plane.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS],
        "resolvConf": "",
        # A machine that is nearly full is no reason to lose the images or to refuse pods.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    }
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    kubeconfig = write_kubeconfig(folder / "kubeconfigs" / "kubelet.yaml", plane.url, plane.authority.certificate, user)
    flags = {
        "config": config,
        "kubeconfig": kubeconfig,
        "hostname-override": NAME,
        "node-ip": NODE,
        "root-dir": folder / "kubelet",
    }
    given = [f"--{name}={value}" for name, value in flags.items()]
    return Server(namespaces.inside(find("kubelet"), *given), folder / "logs" / "kubelet.log")
