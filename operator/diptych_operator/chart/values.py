"""The values of the Helm chart, from which values.yaml, its schema and its reference are generated."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from diptych_api.cluster import Quantity
from diptych_api.fields import Model
from diptych_operator.chart.metrics_values import Metrics
from diptych_operator.chart.pod_values import Image, Pod, PriorityClass, PullSecret, ReplicaCount, ServiceAccount
from diptych_operator.chart.value_types import Labels, Objects, OptionalName, setting
from diptych_operator.settings import (
    Concurrency,
    GatewayURL,
    LabelName,
    LeaseSeconds,
    LogFormat,
    LogLevel,
    Namespace,
    Namespaces,
    ObjectName,
    PullPolicy,
    RayVersion,
    RequestSeconds,
    ResyncSeconds,
)

Cidr = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$", max_length=64)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Ray(Model):
    """What the Ray clusters that train and serve are made of. A change reaches new clusters only."""

    image: Annotated[str, StringConstraints(pattern=r"^\S*$", max_length=512)] = setting(
        "image",
        "",
        "Image of the Ray clusters; ghcr.io/diptych-dev/diptych/ray of the chart's appVersion if empty.",
    )
    image_pull_policy: PullPolicy = setting("image_pull_policy")
    version: RayVersion = setting("ray_version")
    head_cpus: Quantity = setting("head_cpus")
    head_memory: Quantity = setting("head_memory")
    network_policies: bool = setting("network_policies")


class Gpu(Model):
    """How the device plugin names GPUs."""

    resource: LabelName = setting("gpu_resource")
    node_label: LabelName = setting("gpu_node_label")


class KubeRay(Model):
    """The KubeRay operator, which must be there."""

    namespace: Namespace = setting("kuberay_namespace")


class GatewayAPI(Model):
    """HTTPRoutes of the Gateway API."""

    enabled: bool = setting("gateway_api")


class Serving(Model):
    """Deployments that serve."""

    gateway_url: GatewayURL = setting("gateway_url")


class Reconciling(Model):
    """How fast and how often objects are looked at."""

    concurrency: Concurrency = setting("concurrency")
    resync_seconds: ResyncSeconds = setting("resync_seconds")
    request_timeout_seconds: RequestSeconds = setting("request_timeout_s")


class Lease(Model):
    """The Lease by which one replica writes and a second one waits."""

    name: ObjectName = setting("lease_name")
    seconds: LeaseSeconds = setting("lease_seconds")


class Log(Model):
    """The operator's log."""

    level: LogLevel = setting("log_level")
    format: LogFormat = setting("log_format")


class CRDs(Model):
    """The CustomResourceDefinitions. `helm uninstall` keeps them, and with them your resources."""

    enabled: bool = Field(default=True, description="Install them, and upgrade them with the chart.")


class Rbac(Model):
    """Rights."""

    create: bool = Field(default=True, description="Make the operator's roles and bindings.")
    user_roles: bool = Field(
        default=True,
        description="Add the resources to the roles view, edit and admin of the cluster. Not with watchNamespaces.",
    )


class ApiServer(Model):
    """Where the API server is, as seen from the operator's pod."""

    cidrs: list[Cidr] = Field(default=[], max_length=16, description="Its addresses; anywhere when empty.")
    ports: list[Port] = Field(default=[443, 6443], max_length=8, description="Its ports.")


class NetworkPolicy(Model):
    """What the operator may reach, and who may reach it."""

    enabled: bool = Field(default=True, description="Make the NetworkPolicy.")
    api_server: ApiServer = Field(default=ApiServer(), description="Where the API server is.")
    metrics_from: Objects = Field(default=[], description="Peers that may read /metrics; anybody when empty.")


class Values(Model):
    """The values of the chart."""

    name_override: OptionalName = Field(default="", description="Replaces the chart's name in names.")
    fullname_override: OptionalName = Field(default="", description="Replaces the whole name of the objects.")
    labels: Labels = Field(default={}, description="Labels of every object of the chart.")
    replicas: ReplicaCount = Field(
        default=1, description="Replicas. One writes; a second one waits for the Lease and takes over in seconds."
    )
    image: Image = Field(default=Image(), description="Image of the operator.")
    image_pull_secrets: list[PullSecret] = Field(
        default=[], max_length=16, description="Names of Secrets for the registry of the operator's image."
    )
    watch_namespaces: Namespaces = setting("watch_namespaces")
    ray: Ray = Field(default=Ray(), description="The Ray clusters.")
    gpu: Gpu = Field(default=Gpu(), description="How GPUs are named.")
    kuberay: KubeRay = Field(default=KubeRay(), description="The KubeRay operator.")
    gateway_api: GatewayAPI = Field(default=GatewayAPI(), alias="gatewayAPI", description="The Gateway API.")
    serving: Serving = Field(default=Serving(), description="Deployments that serve.")
    reconciling: Reconciling = Field(default=Reconciling(), description="How objects are looked at.")
    lease: Lease = Field(default=Lease(), description="The Lease.")
    log: Log = Field(default=Log(), description="The log.")
    crds: CRDs = Field(default=CRDs(), description="The CustomResourceDefinitions.")
    rbac: Rbac = Field(default=Rbac(), description="Rights.")
    service_account: ServiceAccount = Field(default=ServiceAccount(), description="The operator's account.")
    pod: Pod = Field(default=Pod(), description="The operator's pod.")
    priority_class: PriorityClass = Field(default=PriorityClass(), description="Priority of the pod.")
    metrics: Metrics = Field(default=Metrics(), description="What watches the operator.")
    network_policy: NetworkPolicy = Field(default=NetworkPolicy(), description="Network of the operator's pod.")
    global_values: dict[str, Any] = Field(
        default={}, alias="global", description="Values of a parent chart; Helm puts them here. Not used."
    )
