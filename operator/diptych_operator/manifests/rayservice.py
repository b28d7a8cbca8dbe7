"""The RayService of a deployment."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from diptych_api.diffusiondeployment import DiffusionDeployment, DiffusionDeploymentSpec
from diptych_api.fields import API_GROUP
from diptych_api.names import QUEUE_LABEL, QUEUE_PRIORITY_LABEL, ray_service_name
from diptych_api.serveconfig import arguments, serve_config
from diptych_api.servingconfig import ServedAdapter
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import RAY_SERVICE, Manifest
from diptych_operator.manifests.metadata import head
from diptych_operator.manifests.serve_text import serve_text
from diptych_operator.manifests.service import serve_service
from diptych_operator.manifests.serving_inputs import claims, followed_values, serving_values, variables
from diptych_operator.manifests.serving_pods import ray_cluster

PODS_ANNOTATION: Final = f"{API_GROUP}/pods-hash"
UPGRADES: Final = {"BlueGreen": "NewCluster", "InPlace": "None"}
OLD_CLUSTER_S: Final = 60
"""The old cluster stays so long after traffic has moved."""


def ray_service(deployment: DiffusionDeployment, adapters: Sequence[ServedAdapter], defaults: Defaults) -> Manifest:
    """Return the manifest of a deployment with its adapters found. Raises SpecInvalid where it cannot become pods."""
    name, mark = deployment.metadata.name, {PODS_ANNOTATION: pods_hash(deployment.spec, adapters)}
    given = deployment.metadata.labels
    queue: dict[str, str] = {label: given[label] for label in (QUEUE_LABEL, QUEUE_PRIORITY_LABEL) if label in given}
    return {
        **head(RAY_SERVICE, deployment, ray_service_name(name), annotations=mark, extra_labels=queue),
        "spec": {
            "upgradeStrategy": {"type": UPGRADES[deployment.spec.rollout.strategy]},
            "rayClusterDeletionDelaySeconds": OLD_CLUSTER_S,
            "serveService": serve_service(deployment),
            "serveConfigV2": serve_text(_serve_values(deployment, adapters)),
            "rayClusterConfig": ray_cluster(deployment, adapters, mark, defaults),
        },
    }


def pods_hash(spec: DiffusionDeploymentSpec, adapters: Sequence[ServedAdapter]) -> str:
    """Return 16 hex digits over what only new pods bring in: the fields that pods are made of, as the spec has them.

    The Service's ports and gRPC's options are among them: KubeRay and Ray Serve take those in with a cluster only.
    """
    endpoints = spec.endpoints
    inputs = {
        "pods": spec.pods.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "resources": spec.resources.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "claims": claims(spec, adapters),
        "variables": variables(spec),
        "ports": [
            endpoints.http.port,
            endpoints.grpc.model_dump(mode="json"),
            endpoints.compatible.model_dump(mode="json"),
        ],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _serve_values(deployment: DiffusionDeployment, adapters: Sequence[ServedAdapter]) -> dict[str, Any]:
    """Return Ray Serve's configuration. Arguments that are defaults are left out, as the image knows them."""
    config = serving_values(deployment)
    values = serve_config(config, followed_values(deployment.spec, adapters), pinned=True)
    args = arguments(config).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {**values, "applications": [one | {"args": args} for one in values["applications"]]}
