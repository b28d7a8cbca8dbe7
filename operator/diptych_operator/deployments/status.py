"""The status of a deployment, made of what is seen."""

from typing import Any, Final

from diptych_api.deploymentstatus import (
    DeploymentColumns,
    DiffusionDeploymentStatus,
    RolloutStatus,
    URLs,
)
from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.names import ray_service_name, service_name
from diptych_api.serveconfig import PAGE_PATH
from diptych_operator.conditions import conditions
from diptych_operator.deployments.look import Look
from diptych_operator.deployments.phases import Picture, aspects
from diptych_operator.deployments.replicas import engine_pods, ready, selector, wanted
from diptych_operator.deployments.step import Step
from diptych_operator.deployments.told_figures import figures, p50_column
from diptych_operator.jobs.progress import base_name

LONGEST_COLUMN: Final = 16
LONGEST_BASE: Final = 256
MOST_REPLICAS: Final = 1024


def status_of(look: Look, step: Step, picture: Picture, *, taken_in: bool) -> DiffusionDeploymentStatus:
    """Return the whole status. Times in it are of what happened, so that nothing is written while nothing does."""
    deployment, before, state = look.deployment, look.status, look.state
    pods = engine_pods(look.seen.pods, state.active if state else "")
    drawing = ready(pods)
    generation = deployment.metadata.generation
    told = {"performance": before.performance} | figures(look, pods)
    changes: dict[str, Any] = {
        "phase": picture.phase,
        "observed_generation": generation,
        "conditions": conditions(before.conditions, aspects(look, picture), generation, look.now),
        "replicas": min(len(pods), MOST_REPLICAS),
        "ready_replicas": min(drawing, MOST_REPLICAS),
        "selector": selector(deployment),
        "url": urls(deployment),
        "adapters": list(picture.adapters),
        "rollout": RolloutStatus(config_hash=step.desired if taken_in else "", desired_hash=step.desired),
        "ray_service_name": ray_service_name(deployment.metadata.name),
        "ray_cluster_name": (state.active or state.pending or None) if state else None,
        "last_failure": picture.failure,
        "columns": _columns(picture, deployment, drawing, len(pods), p50_column(told["performance"])),
    } | told
    return before.model_copy(update=changes)


def urls(deployment: DiffusionDeployment) -> URLs:
    """Return where clients find a deployment: by its host name where it has one, else by its Service."""
    endpoints, meta = deployment.spec.endpoints, deployment.metadata
    host = f"{service_name(meta.name)}.{meta.namespace}"
    http = f"http://{host}:{endpoints.http.port}"
    if endpoints.http.ingress_host is not None:
        scheme = "https" if endpoints.http.tls_secret else "http"
        http = f"{scheme}://{endpoints.http.ingress_host}"
    return URLs(
        http=http,
        grpc=f"grpc://{host}:{endpoints.grpc.port}" if endpoints.grpc.enabled else None,
        ui=f"{http}{PAGE_PATH}" if deployment.spec.ui.enabled else None,
    )


def base_column(deployment: DiffusionDeployment) -> str:
    """Return the base as the column shows it."""
    return base_name(deployment.spec.base)[:LONGEST_BASE]


def _columns(
    picture: Picture, deployment: DiffusionDeployment, drawing: int, there: int, p50: str
) -> DeploymentColumns:
    loaded = sum(adapter.state == "Loaded" for adapter in picture.adapters)
    return DeploymentColumns(
        replicas=f"{drawing}/{wanted(deployment, there)}"[:LONGEST_COLUMN],
        adapters=f"{loaded}/{len(picture.adapters)}"[:LONGEST_COLUMN],
        p50=p50[:LONGEST_COLUMN],
        base=base_column(deployment),
    )
