"""local-path-provisioner, which makes a folder of the node for every claim of the default class."""

import json
from pathlib import Path

from cluster.apiserver import ADMINISTRATORS
from cluster.control_plane import ControlPlane
from cluster.kubeconfig import write_kubeconfig
from cluster.node.programs import BUSYBOX
from cluster.server import Server
from cluster.tools import find

NAMESPACE = "kube-system"


def local_path(folder: Path, plane: ControlPlane) -> Server:
    """Return the provisioner, not yet started. The folders lie beside the logs."""
    user = plane.authority.issue("local-path", groups=[ADMINISTRATORS])
    kubeconfig = folder / "kubeconfigs" / "local-path.yaml"
    config = folder / "local-path.json"
    config.write_text(json.dumps({"sharedFileSystemPath": str(folder / "volumes")}), encoding="utf-8")
    settings = {
        "kubeconfig": write_kubeconfig(kubeconfig, plane.url, plane.authority.certificate, user),
        "config": config,
        "namespace": NAMESPACE,
        "helper-image": BUSYBOX,
        "service-account-name": "default",
    }
    flags = [f"--{name}={value}" for name, value in settings.items()]
    return Server([find("local-path"), "start", *flags], folder / "logs" / "local-path.log")
