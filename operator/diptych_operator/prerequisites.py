"""KubeRay must be there, and new enough: told by the fields that its CRDs have."""

from collections.abc import Mapping
from typing import Any, Final

from diptych_operator.kube import Kube

OLDEST: Final = "1.6"
WANTED: Final = {
    "RayJob": ("preRunningDeadlineSeconds", "rayClusterSpec.authOptions"),
    "RayService": ("rayClusterConfig.authOptions", "serveService"),
}
INSTALL: Final = (
    "Install KubeRay first: helm install kuberay-operator kuberay-operator --namespace kuberay-system "
    "--repo https://ray-project.github.io/kuberay-helm --create-namespace"
)


async def missing(kube: Kube) -> str:
    """Return what is missing of KubeRay and what to do; an empty text when all is there. Raises Unreachable."""
    schemas = await kube.schemas("ray.io", "v1")
    if schemas is None:
        return f"KubeRay's resources (ray.io/v1) are not there. {INSTALL}"
    lacking = [
        f"{kind}.spec.{path}" for kind, paths in WANTED.items() for path in paths if not _has(schemas, kind, path)
    ]
    if lacking:
        return f"KubeRay is older than {OLDEST}: its CRDs lack {', '.join(lacking)}. Upgrade KubeRay and its CRDs."
    return ""


def _has(schemas: Mapping[str, Any], kind: str, path: str) -> bool:
    named = [schema for name, schema in schemas.items() if name.endswith(f".{kind}")]
    found: Any = named[0].get("properties", {}).get("spec") if named else None
    for step in path.split("."):
        found = (found or {}).get("properties", {}).get(step)
    return found is not None
