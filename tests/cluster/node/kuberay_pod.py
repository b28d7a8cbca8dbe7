"""KubeRay as users run it: a pod, from the manifests of its own release."""

import os
from pathlib import Path

import yaml

from cluster.control_plane import ControlPlane
from cluster.node.programs import KUBERAY
from cluster.tools import kuberay_manifests

NAMESPACE = "kuberay-system"
DEPLOYMENT = "kuberay-operator"


def install_kuberay(folder: Path, plane: ControlPlane) -> None:
    """Apply KubeRay's rights and Deployment. Its CRDs are there already."""
    space = folder / "kuberay"
    space.mkdir()
    release = Path(os.path.relpath(kuberay_manifests(), space.resolve()))
    image, tag = KUBERAY.rsplit(":", 1)
    settings = {
        "namespace": NAMESPACE,
        "resources": ["namespace.yaml", str(release / "rbac"), str(release / "manager")],
        "images": [{"name": "kuberay/operator", "newName": image, "newTag": tag}],
    }
    (space / "kustomization.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    named = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    (space / "namespace.yaml").write_text(yaml.safe_dump(named), encoding="utf-8")
    plane.kubectl("apply", "--server-side", "-k", space)
