"""Status of a DiffusionDeployment."""

from typing import Literal

from pydantic import Field

from diptych_api.fields import Digest, Location, Record, Text, Time
from diptych_api.report import Failure
from diptych_api.resource import Status

DeploymentPhase = Literal[
    "Pending",
    "Provisioning",
    "Starting",
    "Ready",
    "Updating",
    "Degraded",
    "Suspending",
    "Suspended",
    "Failed",
]
AdapterState = Literal["Waiting", "Loading", "Loaded", "Failed"]


class URLs(Record):
    """Where clients find the deployment."""

    http: Location | None = Field(default=None, description="The HTTP API.")
    grpc: Location | None = Field(default=None, description="The gRPC API.")
    ui: Location | None = Field(default=None, description="The page.")


class AdapterStatus(Record):
    """State of one adapter on the replicas."""

    name: Text = Field(description="Name of the adapter.")
    state: AdapterState = Field(description="Waiting for its job or model, loading, loaded or finally failed.")
    uri: Location | None = Field(default=None, description="Where it came from.")
    digest: Digest | None = Field(default=None, description="Digest over its files.")
    run: Text | None = Field(default=None, description="Run that made it.")
    from_step: int | None = Field(default=None, ge=0, le=10_000_000, description="Optimiser step of the weights.")
    message: str = Field(default="", max_length=1024, description="Why it waits or failed.")


class RolloutStatus(Record):
    """How far a change is."""

    stable_percent: int = Field(default=100, ge=0, le=100, description="Traffic of the old pods in percent.")
    candidate_percent: int = Field(default=0, ge=0, le=100, description="Traffic of the new pods in percent.")
    config_hash: str = Field(default="", max_length=64, description="Hash of the configuration that runs.")
    desired_hash: str = Field(default="", max_length=64, description="Hash of the configuration that is wanted.")


class ColdStart(Record):
    """Where the time of the last start from nothing went."""

    last_seconds: float = Field(ge=0, description="Seconds in all.")
    node_seconds: float | None = Field(default=None, ge=0, description="Seconds until a node was there.")
    image_seconds: float | None = Field(default=None, ge=0, description="Seconds for the container image.")
    weights_seconds: float | None = Field(default=None, ge=0, description="Seconds for the weights.")
    warmup_seconds: float | None = Field(default=None, ge=0, description="Seconds from weights to the first picture.")


class Performance(Record):
    """How fast pictures come."""

    p50_seconds: float | None = Field(default=None, ge=0, description="Half of the requests take no more seconds.")
    p95_seconds: float | None = Field(default=None, ge=0, description="95 % of the requests take no more seconds.")
    images_per_minute: float | None = Field(default=None, ge=0, description="Pictures in a minute, all replicas.")


class DeploymentFailure(Failure):
    """What went wrong last, and in which pod."""

    pod: str = Field(default="", max_length=253, description="Pod in which it happened.")
    exit_code: int | None = Field(default=None, ge=-255, le=255, description="Exit code of the container.")
    time: Time | None = Field(default=None, description="When it was seen.")


class DeploymentColumns(Record):
    """Short texts for the columns of `kubectl get`."""

    replicas: str = Field(default="", max_length=16, description="Ready and wanted replicas, such as 2/2.")
    adapters: str = Field(default="", max_length=16, description="Loaded and wanted adapters, such as 3/3.")
    p50: str = Field(default="", max_length=16, description="Median time of a request, such as 1.9s.")
    base: str = Field(default="", max_length=256, description="The base: name, repository or place.")


class DiffusionDeploymentStatus(Status):
    """State of a deployment."""

    phase: DeploymentPhase = Field(default="Pending", description="State in one word.")
    replicas: int = Field(default=0, ge=0, le=1024, description="Engine replicas that exist.")
    ready_replicas: int = Field(default=0, ge=0, le=1024, description="Engine replicas that draw.")
    selector: str = Field(default="", max_length=1024, description="Label selector of the replicas' pods.")
    url: URLs = Field(default=URLs(), description="Where clients find it.")
    adapters: list[AdapterStatus] = Field(
        default=[],
        max_length=64,
        description="State of each adapter.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    base_digest: Digest | None = Field(default=None, description="Digest of the base's weights.")
    rollout: RolloutStatus = Field(default=RolloutStatus(), description="How far a change is.")
    cold_start: ColdStart | None = Field(default=None, description="The last start from nothing.")
    performance: Performance = Field(default=Performance(), description="How fast pictures come.")
    ray_service_name: str | None = Field(default=None, max_length=63, description="The RayService.")
    ray_cluster_name: str | None = Field(default=None, max_length=63, description="The RayCluster that draws.")
    last_failure: DeploymentFailure | None = Field(default=None, description="What went wrong last.")
    columns: DeploymentColumns = Field(default=DeploymentColumns(), description="Texts for `kubectl get`.")
