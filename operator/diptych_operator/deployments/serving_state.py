"""What KubeRay says of a RayService."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from diptych_operator.child import Child, moment

RUNNING: Final = "RUNNING"
BROKEN: Final = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
AT_WORK: Final = frozenset({"HEALTHY", "UPSCALING", "DOWNSCALING"})
"""States of a deployment of Ray Serve in which it answers with the configuration that it has."""


@dataclass(frozen=True, slots=True)
class Application:
    """An application of Ray Serve, as KubeRay saw it last."""

    name: str
    status: str
    message: str
    deployments: Mapping[str, str] = field(default_factory=dict)
    """Status of each deployment by name."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """Message of each deployment that has one."""

    @property
    def serves(self) -> bool:
        """Whether it answers with all of its configuration; more or fewer replicas may be on their way."""
        return self.status == RUNNING or (
            self.status == "DEPLOYING"
            and bool(self.deployments)
            and all(status in AT_WORK for status in self.deployments.values())
        )

    @property
    def is_broken(self) -> bool:
        """Whether Ray Serve gave it up or it answers no more."""
        return self.status in BROKEN


@dataclass(frozen=True, slots=True)
class ServingState:
    """The status of a RayService."""

    generation: int
    """Of its spec."""
    observed: int = 0
    """Generation that KubeRay has taken in: its configuration was accepted by Ray Serve."""
    updated: datetime | None = None
    """When KubeRay last saw something new."""
    endpoints: int = 0
    active: str = ""
    """RayCluster that answers clients."""
    pending: str = ""
    """RayCluster that will take its place."""
    applications: tuple[Application, ...] = ()
    """Of the cluster that answers clients. KubeRay does not look at them while another cluster starts."""
    starting: tuple[Application, ...] = ()
    """Of the cluster that will take its place."""
    invalid: str = ""
    """Why KubeRay refuses the RayService."""
    has_lost_clients: bool = False
    """Whether there were endpoints once, and now there are none."""
    has_head: bool = False
    """Whether the head of the newest cluster is ready."""
    replica_failure: str = ""
    """Why KubeRay could not make a pod."""

    @classmethod
    def of(cls, service: Child) -> "ServingState":
        """Return what the status of a RayService says."""
        status = service.status
        active, pending = _part(status, "activeServiceStatus"), _part(status, "pendingServiceStatus")
        newest = _conditions(_part(pending or active, "rayClusterStatus"))
        failure, ready = newest.get("ReplicaFailure", {}), _conditions(status).get("Ready", {})
        return cls(
            generation=service.generation,
            observed=int(status.get("observedGeneration") or 0),
            updated=moment(status.get("lastUpdateTime")),
            endpoints=int(status.get("numServeEndpoints") or 0),
            active=str(active.get("rayClusterName") or ""),
            pending=str(pending.get("rayClusterName") or ""),
            applications=tuple(_applications(active)),
            starting=tuple(_applications(pending)),
            invalid=str(ready.get("message", "")) if ready.get("reason") == "ValidationFailed" else "",
            has_lost_clients=ready.get("reason") == "ZeroServeEndpoints",
            has_head=newest.get("HeadPodReady", {}).get("status") == "True",
            replica_failure=str(failure.get("message", "")) if failure.get("status") == "True" else "",
        )

    @property
    def has_lost_head(self) -> bool:
        """Whether nothing is known of the applications though no other cluster starts: the head is not ready."""
        return bool(self.active and not self.pending and not self.applications)

    @property
    def newest(self) -> tuple[Application, ...]:
        """Return the applications of the newest cluster."""
        return self.starting if self.pending else self.applications

    @property
    def serves(self) -> bool:
        """Whether clients are answered by every application, as far as KubeRay looked."""
        return self.endpoints > 0 and bool(self.applications) and all(app.serves for app in self.applications)


def _applications(part: Mapping[str, Any]) -> Iterator[Application]:
    for name, found in sorted((part.get("applicationStatuses") or {}).items()):
        deployments = found.get("serveDeploymentStatuses") or {}
        yield Application(
            name=name,
            status=str(found.get("status") or ""),
            message=str(found.get("message") or ""),
            deployments={name: str(one.get("status") or "") for name, one in sorted(deployments.items())},
            messages={name: str(one["message"]) for name, one in sorted(deployments.items()) if one.get("message")},
        )


def _conditions(part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(condition.get("type")): condition for condition in part.get("conditions") or ()}


def _part(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return status.get(name) or {}
