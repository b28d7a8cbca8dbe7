"""The Service of a deployment: its own ports and those of earlier systems, before the pods that serve.

KubeRay makes it, from this, and points it at another RayCluster in the moment that one is ready. So traffic moves even
while the operator is down, and the endpoints that KubeRay counts are those of this very Service.
"""

from typing import Any

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.names import service_name
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.metadata import labels_of
from diptych_operator.manifests.serving_inputs import GRPC_PORT, HTTP_PORT


def serve_service(deployment: DiffusionDeployment) -> Manifest:
    """Return `serveService` of the RayService. Names of its ports are those of the head's container."""
    endpoints = deployment.spec.endpoints
    ports = [_port("serve", endpoints.http.port, HTTP_PORT, "http")]
    if endpoints.grpc.enabled:
        ports.append(_port("serve-grpc", endpoints.grpc.port, GRPC_PORT, "kubernetes.io/h2c"))
    if endpoints.compatible.enabled:
        ports.append(_port("serve-infer", endpoints.compatible.port, HTTP_PORT, "http"))
        ports.append(_port("serve-ping", endpoints.compatible.ping_port, HTTP_PORT, "http"))
    return {
        "metadata": {"name": service_name(deployment.metadata.name), "labels": labels_of(deployment)},
        "spec": {"type": "ClusterIP", "ports": ports},
    }


def _port(name: str, port: int, target: int, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": port, "targetPort": target, "protocol": "TCP", "appProtocol": protocol}
