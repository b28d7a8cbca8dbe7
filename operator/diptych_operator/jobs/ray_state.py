"""What KubeRay says of a RayJob."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from diptych_api.names import QUEUE_LABEL
from diptych_operator.child import Child, moment
from diptych_operator.manifests.rayjob import ATTEMPT_ANNOTATION

PROVISIONED: Final = "RayClusterProvisioned"
REPLICA_FAILURE: Final = "ReplicaFailure"


@dataclass(frozen=True, slots=True)
class RayState:
    """The status of a RayJob."""

    attempt: int
    """Attempt that the RayJob was made for; 0 where that is lost."""
    created: datetime | None
    deployment: str = ""
    """jobDeploymentStatus: where KubeRay is with it; empty before it has begun."""
    job: str = ""
    """jobStatus: what Ray says of the job."""
    reason: str = ""
    message: str = ""
    cluster: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    provisioned: datetime | None = None
    """When all pods of the cluster were ready."""
    replica_failure: str = ""
    """Why KubeRay could not make a pod."""
    queued: bool = False
    """Kueue decides when it may run."""

    @classmethod
    def of(cls, ray_job: Child) -> "RayState":
        """Return what the status of a RayJob says."""
        status = ray_job.status
        conditions = _conditions(status)
        provisioned, failure = conditions.get(PROVISIONED, {}), conditions.get(REPLICA_FAILURE, {})
        made = (ray_job.applied or {}).get("metadata", {}).get("annotations", ray_job.annotations)
        number = str(made.get(ATTEMPT_ANNOTATION, ""))
        return cls(
            attempt=int(number) if number.isascii() and number.isdigit() else 0,
            created=ray_job.created,
            deployment=str(status.get("jobDeploymentStatus") or ""),
            job=str(status.get("jobStatus") or ""),
            reason=str(status.get("reason") or ""),
            message=str(status.get("message") or ""),
            cluster=status.get("rayClusterName") or None,
            started=moment(status.get("startTime")),
            ended=moment(status.get("endTime")),
            provisioned=moment(provisioned.get("lastTransitionTime")) if provisioned.get("status") == "True" else None,
            replica_failure=str(failure.get("message", "")) if failure.get("status") == "True" else "",
            queued=QUEUE_LABEL in ray_job.labels,
        )

    @property
    def is_over(self) -> bool:
        """Whether KubeRay is done with it and takes its pods away by itself."""
        return self.deployment in {"Complete", "Failed"}

    @property
    def is_held(self) -> bool:
        """Whether it waits for somebody's leave to run."""
        return self.deployment in {"Suspending", "Suspended"} or (self.queued and not self.deployment)

    @property
    def is_running(self) -> bool:
        """Whether its cluster is there and the job was handed over."""
        return self.deployment == "Running"


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    cluster = status.get("rayClusterStatus") or {}
    return {str(condition.get("type")): condition for condition in cluster.get("conditions") or ()}
