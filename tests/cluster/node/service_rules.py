"""kube-proxy, which turns Services into rules of the node's network."""

from pathlib import Path

import yaml

from cluster.apiserver import ADMINISTRATORS
from cluster.control_plane import ControlPlane
from cluster.kubeconfig import write_kubeconfig
from cluster.node.kubelet import NAME
from cluster.node.namespaces import Namespaces
from cluster.node.network import PODS
from cluster.server import Server
from cluster.tools import find


def kube_proxy(folder: Path, namespaces: Namespaces, plane: ControlPlane) -> Server:
    """Return kube-proxy, not yet started."""
    user = plane.authority.issue("kube-proxy", groups=[ADMINISTRATORS])
    config = folder / "kube-proxy.yaml"
    kubeconfig = folder / "kubeconfigs" / "kube-proxy.yaml"
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "clientConnection": {
            "kubeconfig": str(write_kubeconfig(kubeconfig, plane.url, plane.authority.certificate, user))
        },
        "conntrack": {"maxPerCore": 0},  # the limit is the whole machine's
    }
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return Server(
        namespaces.inside(find("kube-proxy"), f"--config={config}"),
        folder / "logs" / "kube-proxy.log",
    )
