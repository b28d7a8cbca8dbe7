"""The kinds of objects that the operator reads or writes, as the API server addresses them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from diptych_api.fields import API_GROUP, API_VERSION

Manifest = dict[str, Any]
"""An object as plain values, as it travels."""


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """A kind of object. The core group is the empty one."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Return group and version as they stand in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", part: str = "") -> str:
        """Return the URL path of an object, of its subresource, or of all objects when there is no name."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{where}/{self.plural}" + "".join(f"/{step}" for step in (name, part) if step)


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which object."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as logs show it."""
        return f"{self.kind.kind} {self.namespace}/{self.name}"


_OURS: Final = API_VERSION.removeprefix(f"{API_GROUP}/")
FINE_TUNE_JOB: Final = Kind(API_GROUP, _OURS, "finetunejobs", "FineTuneJob")
FINE_TUNE_REPORT: Final = Kind(API_GROUP, _OURS, "finetunereports", "FineTuneReport")
DIFFUSION_DEPLOYMENT: Final = Kind(API_GROUP, _OURS, "diffusiondeployments", "DiffusionDeployment")
DIFFUSION_MODEL: Final = Kind(API_GROUP, _OURS, "diffusionmodels", "DiffusionModel")
RAY_JOB: Final = Kind("ray.io", "v1", "rayjobs", "RayJob")
RAY_SERVICE: Final = Kind("ray.io", "v1", "rayservices", "RayService")
JOB: Final = Kind("batch", "v1", "jobs", "Job")
POD: Final = Kind("", "v1", "pods", "Pod")
SERVICE_ACCOUNT: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
EVENT: Final = Kind("", "v1", "events", "Event")
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
INGRESS: Final = Kind("networking.k8s.io", "v1", "ingresses", "Ingress")
HTTP_ROUTE: Final = Kind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
DISRUPTION_BUDGET: Final = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
ROLE: Final = Kind("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDING: Final = Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
LEASE: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
CRD: Final = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")

KINDS: Final = {
    (kind.api_version, kind.kind): kind
    for kind in (
        *(FINE_TUNE_JOB, FINE_TUNE_REPORT, DIFFUSION_DEPLOYMENT, DIFFUSION_MODEL, RAY_JOB, RAY_SERVICE, JOB, POD),
        *(SERVICE_ACCOUNT, EVENT, NETWORK_POLICY, INGRESS, HTTP_ROUTE, DISRUPTION_BUDGET, ROLE, ROLE_BINDING, LEASE),
        CRD,
    )
}


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """Return the kind of an object. Raises KeyError for one that the operator does not know."""
    return KINDS[manifest["apiVersion"], manifest["kind"]]


def ref_of(manifest: Mapping[str, Any]) -> Ref:
    """Return which object a manifest is."""
    metadata = manifest["metadata"]
    return Ref(kind_of(manifest), metadata.get("namespace", ""), metadata["name"])
