"""The optional Ingress of a deployment's HTTP API."""

import re
from typing import Final

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.errors import SpecInvalid
from diptych_api.names import service_name
from diptych_operator.kinds import INGRESS, Manifest
from diptych_operator.manifests.metadata import head
from diptych_operator.manifests.spec_names import is_object_name

HOST: Final = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
HINT: Final = "Write it as `kubectl get` shows it, in small letters."


def ingress(deployment: DiffusionDeployment) -> Manifest | None:
    """Return the Ingress; None where no host is named or a Gateway does it. Raises SpecInvalid for impossible names."""
    http, name = deployment.spec.endpoints.http, service_name(deployment.metadata.name)
    if http.ingress_host is None or http.gateway is not None:
        return None
    check_host(http.ingress_host)
    backend = {"service": {"name": name, "port": {"number": http.port}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: Manifest = {"rules": [{"host": http.ingress_host, "http": {"paths": [path]}}]}
    if http.ingress_class is not None:
        spec["ingressClassName"] = _checked(http.ingress_class, "ingressClass")
    if http.tls_secret is not None:
        spec["tls"] = [{"hosts": [http.ingress_host], "secretName": _checked(http.tls_secret, "tlsSecret")}]
    return {**head(INGRESS, deployment, name), "spec": spec}


def check_host(host: str) -> None:
    """Refuse what is no name of a host. Raises SpecInvalid."""
    if not HOST.fullmatch(host):
        raise SpecInvalid(f"endpoints.http.ingressHost: {host!r} is no host name.", hint=HINT)


def _checked(name: str, field: str) -> str:
    if not is_object_name(name):
        raise SpecInvalid(f"endpoints.http.{field}: {name!r} is no name of a Kubernetes object.", hint=HINT)
    return name
