"""The optional HTTPRoute of a deployment's HTTP API."""

from typing import Final

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.errors import SpecInvalid
from diptych_api.names import service_name
from diptych_operator.kinds import HTTP_ROUTE, Manifest
from diptych_operator.manifests.ingress import check_host
from diptych_operator.manifests.metadata import head
from diptych_operator.manifests.spec_names import is_object_name

LONGEST_S: Final = "24h"
"""Above every limits.requestTimeoutSeconds, which the gateway keeps itself."""


def http_route(deployment: DiffusionDeployment) -> Manifest | None:
    """Return the HTTPRoute; None where no Gateway is named. Raises SpecInvalid for names that cannot be.

    A Gateway of another namespace is written as `namespace/name`.
    """
    http, name = deployment.spec.endpoints.http, service_name(deployment.metadata.name)
    if http.gateway is None:
        return None
    spec: Manifest = {
        "parentRefs": [_parent(http.gateway)],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"name": name, "port": http.port}],
                "timeouts": {"request": LONGEST_S},
            }
        ],
    }
    if http.ingress_host is not None:
        check_host(http.ingress_host)
        spec["hostnames"] = [http.ingress_host]
    return {**head(HTTP_ROUTE, deployment, name), "spec": spec}


def _parent(gateway: str) -> Manifest:
    namespace, _, name = gateway.rpartition("/")
    if not is_object_name(name) or (namespace and not is_object_name(namespace)):
        raise SpecInvalid(
            f"endpoints.http.gateway: {gateway!r} is no Gateway.", hint="Write name, or namespace/name of the Gateway."
        )
    return {"name": name} | ({"namespace": namespace} if namespace else {})
