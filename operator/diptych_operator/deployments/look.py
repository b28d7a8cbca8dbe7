"""What the parts of a deployment's plan work with: what is seen, what is wanted, the defaults and the moment."""

from dataclasses import dataclass
from datetime import datetime

from diptych_api.deploymentstatus import DiffusionDeploymentStatus
from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_operator.child import Child
from diptych_operator.conditions import LONGEST_MESSAGE
from diptych_operator.defaults import Defaults
from diptych_operator.deployments.found_adapters import FoundAdapter
from diptych_operator.deployments.serving_state import ServingState
from diptych_operator.observed import DeploymentSeen


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a deployment."""

    seen: DeploymentSeen
    defaults: Defaults
    now: datetime
    adapters: tuple[FoundAdapter, ...]
    state: ServingState | None
    """What KubeRay says of the RayService; None when there is none of this deployment, or it is on its way out."""

    @property
    def deployment(self) -> DiffusionDeployment:
        """Return the deployment."""
        return self.seen.deployment

    @property
    def status(self) -> DiffusionDeploymentStatus:
        """Return the status as stored."""
        return self.seen.deployment.status

    @property
    def service(self) -> Child | None:
        """Return the RayService, whoever made it."""
        return self.seen.ray_service

    @property
    def is_taken(self) -> bool:
        """Whether a RayService of this name belongs to somebody else."""
        return self.service is not None and self.service.owner_uid != self.deployment.metadata.uid

    @property
    def refused(self) -> str:
        """Return what the API server said to the last try of a child, when the status does not tell it yet."""
        told = {condition.type: condition for condition in self.status.conditions}.get("Degraded")
        known = told is not None and told.reason == "Refused" and told.message == self.seen.refused[:LONGEST_MESSAGE]
        return "" if known else self.seen.refused


def look(seen: DeploymentSeen, defaults: Defaults, now: datetime, adapters: tuple[FoundAdapter, ...]) -> Look:
    """Return a look at what is seen."""
    service, uid = seen.ray_service, seen.deployment.metadata.uid
    ours = service is not None and service.owner_uid == uid and not service.deleting
    return Look(seen, defaults, now, adapters, ServingState.of(service) if service is not None and ours else None)
