"""DiffusionDeployment: which base, which adapters, how many GPUs."""

from typing import ClassVar, Literal

from pydantic import Field

from diptych_api.adapters import Adapter
from diptych_api.cluster import Pods, Quantity
from diptych_api.deploymentstatus import DiffusionDeploymentStatus
from diptych_api.endpoints import Endpoints, Page
from diptych_api.fields import Model, Prompt
from diptych_api.generation import GenerationDefaults, PromptTemplate
from diptych_api.limits import CIDR, Auth, Limits, RateLimit, Safety, WorkUnits
from diptych_api.resource import Resource
from diptych_api.rules import rule
from diptych_api.sources import Base, Claim


class Autoscaling(Model):
    """Engine replicas that follow the load."""

    min: int = Field(default=1, ge=0, le=1024, description="Fewest replicas; 0 gives the GPUs back.")
    max: int = Field(default=4, ge=1, le=1024, description="Most replicas.")
    target_ongoing_requests: float = Field(default=8, gt=0, le=1000, description="Requests at work on each replica.")
    target_work_units: WorkUnits | None = Field(
        default=None,
        description="Work left on each replica, in work units; takes the place of targetOngoingRequests when set.",
    )
    scale_up_after_seconds: int = Field(
        default=30, ge=0, le=3600, description="Busy seconds before a replica comes; the first of none comes at once."
    )
    scale_down_after_seconds: int = Field(
        default=600, ge=0, le=10**6, description="Quiet seconds before a replica goes, but for the last one."
    )
    scale_to_zero_after_seconds: int = Field(
        default=900, ge=0, le=10**6, description="Quiet seconds before the last replica goes, with min 0."
    )

    @rule("min may not be above max", cel="self.min <= self.max", field="min")
    def _min_below_max(self) -> bool:
        return self.min <= self.max


class Rollout(Model):
    """How a change that needs new pods comes in."""

    strategy: Literal["InPlace", "BlueGreen"] = Field(
        default="BlueGreen",
        description="BlueGreen starts the new pods first and needs twice the GPUs; InPlace stops the old ones first.",
    )


class ModelCache(Model):
    """A volume that keeps the base's files, so that pods do not download them again."""

    pvc: Claim = Field(description="The volume and the folder in it.")


class ResultCache(Model):
    """Pictures that are kept and given again to the same request."""

    max_bytes: int = Field(default=0, ge=0, le=2**40, description="Size in bytes; 0 keeps none.")
    ttl_seconds: int = Field(default=86_400, ge=1, le=10**7, description="Seconds that a picture is kept.")


class ReplicaResources(Model):
    """What each engine replica gets."""

    gpus: int = Field(default=0, ge=0, le=1, description="GPUs; 0 draws on the CPU.")
    cpus: int = Field(default=2, ge=1, le=512, description="CPU cores.")
    memory: Quantity = Field(default="8Gi", description="Memory.")


class DiffusionDeploymentSpec(Model):
    """Everything a deployment is made of. All of it may change, but for managedBy."""

    immutable: ClassVar[frozenset[str]] = frozenset({"managed_by"})

    base: Base = Field(description="The model that every adapter belongs to.")
    adapters: list[Adapter] = Field(
        default=[],
        max_length=64,
        description="Adapters served beside the base.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    replicas: int | None = Field(
        default=None, ge=0, le=1024, description="Engine replicas; 1 when unset. `kubectl scale` and HPAs write it."
    )
    autoscaling: Autoscaling | None = Field(default=None, description="Replicas that follow the load.")
    endpoints: Endpoints = Field(default=Endpoints(), description="How clients reach it.")
    rollout: Rollout = Field(default=Rollout(), description="How changes come in.")
    defaults: GenerationDefaults = Field(default=GenerationDefaults(), description="Settings of a picture.")
    limits: Limits = Field(default=Limits(), description="Bounds of one request.")
    rate_limit: RateLimit = Field(default=RateLimit(), description="How often clients may ask.")
    auth: Auth = Field(default=Auth(), description="Who may ask.")
    safety: Safety = Field(default=Safety(), description="What happens to flagged pictures.")
    trusted_proxies: list[CIDR] = Field(
        default=[], max_length=32, description="Networks whose X-Forwarded-For is believed, such as 10.0.0.0/8."
    )
    examples: list[Prompt] = Field(
        default=[], max_length=64, description="Prompts that the page and /v1/examples show."
    )
    prompt_templates: list[PromptTemplate] = Field(
        default=[],
        max_length=32,
        description="Styles that a request can choose.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    ui: Page = Field(default=Page(), description="The web page.")
    model_cache: ModelCache | None = Field(default=None, description="A volume for the base's files.")
    result_cache: ResultCache = Field(default=ResultCache(), description="Pictures that are kept.")
    backend: Literal["PyTorch", "ONNX", "TensorRT"] = Field(
        default="PyTorch", description="What runs the UNet; ONNX is for CPUs, and TensorRT is not there yet."
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(default="auto", description="Where it runs.")
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(default="auto", description="Arithmetic.")
    slots: int = Field(default=8, ge=1, le=256, description="Adapters held in memory at once, besides the base.")
    max_rank: int = Field(default=64, ge=1, le=512, description="Highest rank of an adapter; decides memory.")
    max_rows: int | None = Field(default=None, ge=1, le=1024, description="Rows of a forward; measured when unset.")
    resources: ReplicaResources = Field(default=ReplicaResources(), description="What each engine replica gets.")
    pods: Pods = Field(default=Pods(), description="Where and how pods run.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    suspend: bool = Field(default=False, description="True takes all pods away; false brings them back.")
    managed_by: Literal["diptych.dev/operator", "kueue.x-k8s.io/multikueue"] = Field(
        default="diptych.dev/operator", description="Who reconciles the deployment."
    )

    @rule(
        "set replicas or autoscaling, not both",
        cel="!has(self.replicas) || !has(self.autoscaling)",
        field="replicas",
    )
    def _replicas_or_autoscaling(self) -> bool:
        return self.replicas is None or self.autoscaling is None

    @rule(
        "adapter names must be unique",
        cel="self.adapters.all(a, self.adapters.exists_one(b, b.name == a.name))",
        field="adapters",
    )
    def _unique_adapters(self) -> bool:
        return len({adapter.name for adapter in self.adapters}) == len(self.adapters)

    @rule(
        "names of promptTemplates must be unique",
        cel="self.promptTemplates.all(a, self.promptTemplates.exists_one(b, b.name == a.name))",
        field="promptTemplates",
    )
    def _unique_templates(self) -> bool:
        return len({template.name for template in self.prompt_templates}) == len(self.prompt_templates)

    @rule(
        "slots must hold every adapter: raise slots or name fewer adapters",
        cel="size(self.adapters) <= self.slots",
        field="slots",
    )
    def _slots_for_all(self) -> bool:
        return len(self.adapters) <= self.slots


class DiffusionDeployment(Resource):
    """A service that draws with a base and any of its adapters, side by side from one copy of the base."""

    kind: Literal["DiffusionDeployment"] = Field(default="DiffusionDeployment", description="Kind of the object.")
    spec: DiffusionDeploymentSpec = Field(description="Which base, which adapters, how many GPUs.")
    status: DiffusionDeploymentStatus = Field(
        default=DiffusionDeploymentStatus(), description="State of the deployment."
    )
