"""What Kubernetes needs to know: workers, GPUs, images, pod placement."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from diptych_api.fields import Model, Text
from diptych_api.rules import rule
from diptych_api.sources import Claim, SecretKey

Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$", max_length=32)]


class Toleration(Model):
    """A toleration, as Kubernetes spells it."""

    key: str | None = Field(
        default=None, max_length=317, description="Taint key; empty with operator Exists matches all."
    )
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How key and value are matched.")
    value: str | None = Field(default=None, max_length=63, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; all when unset."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=10**9, description="Seconds before eviction, with NoExecute."
    )


class VolumeMount(Model):
    """A volume that every pod of the job sees."""

    claim: Claim = Field(description="The volume and the folder in it.")
    mount_path: str = Field(pattern=r"^/[^\x00:]*$", max_length=512, description="Where it appears.")
    read_only: bool = Field(default=True, description="Mount it read-only.")


class EnvSecret(Model):
    """An environment variable that is filled from a Secret."""

    name: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]{0,62}$", max_length=63, description="Name of the variable, such as HF_TOKEN."
    )
    value_from: SecretKey = Field(description="The Secret's key.")


class Pods(Model):
    """Where and how pods run. Ignored on one machine, and reported as ignored."""

    image: str | None = Field(
        default=None, min_length=1, max_length=512, description="Container image; the chart's default when unset."
    )
    image_pull_secrets: list[Text] = Field(default=[], max_length=16, description="Names of Secrets for the registry.")
    node_selector: dict[
        Annotated[str, StringConstraints(max_length=317)], Annotated[str, StringConstraints(max_length=63)]
    ] = Field(default={}, max_length=32, description="Labels that a node must have.")
    gpu_type: Text | None = Field(
        default=None, description="GPU product, matched with the node label of the device plugin."
    )
    tolerations: list[Toleration] = Field(default=[], max_length=32, description="Taints that are tolerated.")
    priority_class_name: Text | None = Field(default=None, description="Priority class.")
    service_account_name: Text | None = Field(
        default=None, description="Service account of the pods; one without rights when unset."
    )
    volumes: list[VolumeMount] = Field(default=[], max_length=16, description="Further volumes.")
    env: list[EnvSecret] = Field(default=[], max_length=32, description="Secrets as environment variables.")
    template: dict[str, Any] | None = Field(
        default=None, description="Strategic-merge patch over the generated pod template."
    )
    termination_grace_period_seconds: int = Field(
        default=120,
        ge=0,
        le=3600,
        description="Seconds that a pod has to end what it does: to save a checkpoint, or to draw what was begun.",
    )


class Resources(Model):
    """How many workers train, and what each of them gets."""

    workers: int = Field(default=1, ge=1, le=1024, description="Ray Train workers.")
    min_workers: int | None = Field(
        default=None, ge=1, le=1024, description="Go on with this many when workers are lost; fixed size when unset."
    )
    gpus_per_worker: int = Field(default=0, ge=0, le=16, description="GPUs of each worker; 0 trains on the CPU.")
    cpus_per_worker: int = Field(default=1, ge=1, le=512, description="CPU cores of each worker.")
    memory_per_worker: Quantity = Field(default="8Gi", description="Memory of each worker.")
    pods: Pods = Field(default=Pods(), description="Where and how pods run.")

    @rule(
        "minWorkers may not be above workers",
        cel="!has(self.minWorkers) || self.minWorkers <= (has(self.workers) ? self.workers : 1)",
        field="minWorkers",
    )
    def _min_below_workers(self) -> bool:
        return self.min_workers is None or self.min_workers <= self.workers
