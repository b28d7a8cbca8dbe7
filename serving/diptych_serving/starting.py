"""What Ray Serve says of engine replicas that do not start: no GPU is free, or their constructor fails."""

from typing import Final

from ray import serve
from ray.serve._private.common import DeploymentStatus

from diptych_api.serveconfig import APPLICATION, ENGINE

LONGEST: Final = 1000


def engine_trouble() -> str:
    """Return what keeps engine replicas from starting, or ""; Ray Serve says it after half a minute. Blocks."""
    application = serve.status().applications.get(APPLICATION)
    engine = None if application is None else application.deployments.get(ENGINE)
    return "" if engine is None or engine.status == DeploymentStatus.HEALTHY else engine.message[:LONGEST]


def reason_of(error: Exception) -> str:
    """Return why a start failed, for /ready."""
    return f"{type(error).__name__}: {error}"
