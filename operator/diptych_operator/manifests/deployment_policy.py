"""The NetworkPolicy of a deployment: clients reach its two APIs, KubeRay the dashboard, and nobody else comes in."""

from typing import Final

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.names import DEPLOYMENT_LABEL, deployment_policy_name
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import NETWORK_POLICY, Manifest
from diptych_operator.manifests.egress import (
    API_SERVER,
    HTTPS,
    from_namespace,
    from_pods,
    ports_of,
    to_anywhere,
    to_dns,
    to_pods,
)
from diptych_operator.manifests.metadata import head
from diptych_operator.manifests.serving_inputs import GRPC_PORT, HTTP_PORT

DASHBOARD_PORT: Final = 8265
METRICS_PORT: Final = 8080
"""Of Ray, for Prometheus; it tells figures and takes no orders."""
REDIS_PORT: Final = 6379
STORES: Final = ("redis://", "rediss://")


def deployment_policy(deployment: DiffusionDeployment, defaults: Defaults, places: list[str]) -> Manifest:
    """Return the NetworkPolicy of a deployment's pods; `places` are the URIs of its adapters."""
    pods = {DEPLOYMENT_LABEL: deployment.metadata.name}
    clients: Manifest = {"ports": [_tcp(HTTP_PORT), _tcp(METRICS_PORT)]}
    if deployment.spec.endpoints.grpc.enabled:
        clients["ports"].append(_tcp(GRPC_PORT))
    return {
        **head(NETWORK_POLICY, deployment, deployment_policy_name(deployment.metadata.name)),
        "spec": {
            "podSelector": {"matchLabels": pods},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                from_pods(pods),
                from_namespace(defaults.kuberay_namespace, DASHBOARD_PORT, HTTP_PORT),
                clients,
            ],
            "egress": [to_dns(), to_pods(pods), to_anywhere({HTTPS, *API_SERVER, *_ports(deployment, places)})],
        },
    }


def _ports(deployment: DiffusionDeployment, places: list[str]) -> set[int]:
    """Return the ports of every place that the spec names."""
    store = deployment.spec.rate_limit.store or ""
    redis = {REDIS_PORT} if store.startswith(STORES) and not ports_of([store]) else set[int]()
    return ports_of([deployment.spec.base.uri, store, *places]) | redis


def _tcp(port: int) -> Manifest:
    return {"protocol": "TCP", "port": port}
