"""KubeRay must be there, and new enough, told by the fields that its CRDs have; and every kind must be found."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from diptych_operator.kinds import Kind
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


async def undiscovered(kube: Kube, kinds: Iterable[Kind]) -> str:
    """Return which kinds no client finds yet; an empty text when all are found. Raises Unreachable.

    An API server that starts serves a CRD some moments before it tells of it. kopf asks once, and never watches what it
    did not find.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for kind in kinds:
        groups.setdefault((kind.group, kind.version), []).append(kind.plural)
    hidden = [
        f"{name}.{group}".rstrip(".")
        for (group, version), names in groups.items()
        for name in sorted(set(names) - await kube.discovered(group, version))
    ]
    return f"The API server does not tell of {', '.join(hidden)}. Are their CRDs there?" if hidden else ""


def _has(schemas: Mapping[str, Any], kind: str, path: str) -> bool:
    named = [schema for name, schema in schemas.items() if name.endswith(f".{kind}")]
    found: Any = named[0].get("properties", {}).get("spec") if named else None
    for step in path.split("."):
        found = (found or {}).get("properties", {}).get(step)
    return found is not None
