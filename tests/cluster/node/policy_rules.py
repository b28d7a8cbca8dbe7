"""kube-router's firewall, which enforces NetworkPolicies with iptables and sets of addresses."""

from pathlib import Path

from cluster.apiserver import ADMINISTRATORS, SERVICE_ADDRESSES
from cluster.control_plane import ControlPlane
from cluster.kubeconfig import write_kubeconfig
from cluster.node.kubelet import NAME
from cluster.node.namespaces import Namespaces
from cluster.server import Server
from cluster.tools import find


def kube_router(folder: Path, namespaces: Namespaces, plane: ControlPlane) -> Server:
    """Return kube-router, not yet started."""
    user = plane.authority.issue("kube-router", groups=[ADMINISTRATORS])
    kubeconfig = folder / "kubeconfigs" / "kube-router.yaml"
    settings = {
        "kubeconfig": write_kubeconfig(kubeconfig, plane.url, plane.authority.certificate, user),
        "hostname-override": NAME,
        "run-firewall": "true",
        "run-router": "false",
        "run-service-proxy": "false",
        "service-cluster-ip-range": SERVICE_ADDRESSES,
        "metrics-port": 0,
    }
    flags = [f"--{name}={value}" for name, value in settings.items()]
    return Server(namespaces.inside(find("kube-router"), *flags), folder / "logs" / "kube-router.log")
