"""Values of the operator's own pod."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from diptych_api.fields import Model
from diptych_operator.chart.value_types import Annotations, Labels, Objects, OptionalName
from diptych_operator.settings import PullPolicy


class Image(Model):
    """Image of the operator."""

    repository: str = Field(
        default="ghcr.io/diptych-dev/diptych/operator", min_length=1, max_length=256, description="Image without tag."
    )
    tag: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$",
        max_length=128,
        description="Tag; the appVersion of the chart when empty.",
    )
    digest: str = Field(
        default="",
        pattern=r"^(sha256:[0-9a-f]{64})?$",
        max_length=71,
        description="Digest such as sha256:…; used instead of the tag when set.",
    )
    pull_policy: PullPolicy = Field(default="IfNotPresent", description="When the image is pulled.")


class ServiceAccount(Model):
    """The account that the operator runs as."""

    create: bool = Field(default=True, description="Make the account.")
    name: OptionalName = Field(default="", description="Name of the account; that of the release when empty.")
    annotations: Annotations = Field(default={}, description="Annotations of the account.")


class PriorityClass(Model):
    """Which pods give way when a node is full."""

    create: bool = Field(default=False, description="Make a PriorityClass for the operator.")
    name: OptionalName = Field(
        default="", description="Name of the class to use or make; that of the release when one is made."
    )
    value: int = Field(default=1_000_000, ge=-(2**31), le=10**9, description="Priority of the class that is made.")


class Pod(Model):
    """The operator's pod. Its defaults pass Pod Security `restricted`."""

    labels: Labels = Field(default={}, description="Further labels.")
    annotations: Annotations = Field(default={}, description="Annotations.")
    resources: dict[str, Any] = Field(
        default={
            "requests": {"cpu": "100m", "memory": "192Mi", "ephemeral-storage": "64Mi"},
            "limits": {"memory": "512Mi", "ephemeral-storage": "256Mi"},
        },
        description="Requests and limits. There is no limit of CPU, which would slow reactions.",
    )
    security_context: dict[str, Any] = Field(
        default={
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        description="Security context of the pod. On OpenShift set runAsUser and runAsGroup to null.",
    )
    container_security_context: dict[str, Any] = Field(
        default={
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        description="Security context of the container.",
    )
    termination_grace_period_seconds: int = Field(
        default=30, ge=0, le=600, description="Seconds to finish the write in flight and give the Lease back."
    )
    node_selector: Labels = Field(default={}, description="Labels that a node must have.")
    tolerations: Objects = Field(default=[], description="Taints that are tolerated.")
    affinity: dict[str, Any] = Field(default={}, description="Affinity to nodes and pods.")
    topology_spread_constraints: Objects = Field(default=[], description="How two replicas are spread.")
    env: Objects = Field(default=[], description="Further environment variables, such as those of a proxy.")


ReplicaCount = Literal[0, 1, 2]
PullSecret = Annotated[str, StringConstraints(min_length=1, max_length=253)]
