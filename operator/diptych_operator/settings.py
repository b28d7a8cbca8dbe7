"""The operator's settings: one environment variable `DIPTYCH_…` for each field, in the order of the chart's values."""

import difflib
import socket
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Final, Literal, get_origin

from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from diptych_api.cluster import Quantity
from diptych_api.errors import SpecInvalid
from diptych_api.fields import Model
from diptych_api.problems import explain

PREFIX: Final = "DIPTYCH_"
NEARLY: Final = 0.85
HINT: Final = (
    "Set the variable to an allowed value, or unset it for the default. Lists have commas. Helm values set it too."
)
Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]
LabelName = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9][A-Za-z0-9._-]*$", min_length=1, max_length=317)
]
ImageName = Annotated[str, StringConstraints(pattern=r"^\S+$", min_length=1, max_length=512)]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
RayVersion = Annotated[str, StringConstraints(pattern=r"^2\.[0-9]+\.[0-9]+$", max_length=16)]
Namespaces = Annotated[list[Namespace], Field(max_length=256)]
Concurrency = Annotated[int, Field(ge=1, le=256)]
ResyncSeconds = Annotated[int, Field(ge=10, le=86_400)]
RequestSeconds = Annotated[float, Field(ge=1, le=60)]
LeaseSeconds = Annotated[int, Field(ge=5, le=300)]
GatewayURL = Annotated[
    str, StringConstraints(pattern=r"^(https?://([^\s{}]|\{(name|namespace|port)\})+)?$", max_length=512)
]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]


def variable(field: str) -> str:
    """Return the environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def _default_image() -> str:
    return f"ghcr.io/diptych-dev/diptych/ray:{version('diptych')}"


def _own_identity() -> str:
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


class Settings(Model):
    """What the operator is told at its start. Nothing changes while it runs."""

    model_config = ConfigDict(alias_generator=variable)

    image: ImageName = Field(
        default_factory=_default_image, description="Image of the Ray clusters that train and serve."
    )
    image_pull_policy: PullPolicy = Field(default="IfNotPresent", description="When the image is pulled.")
    ray_version: RayVersion = Field(default="2.60.0", description="Version of Ray in the image.")
    head_cpus: Quantity = Field(default="1", description="CPU request of a Ray head, where a resource says nothing.")
    head_memory: Quantity = Field(default="4Gi", description="Memory of a Ray head, where a resource says nothing.")
    network_policies: bool = Field(default=True, description="Make a NetworkPolicy for each Ray cluster.")
    gpu_resource: LabelName = Field(default="nvidia.com/gpu", description="Extended resource that is one GPU.")
    gpu_node_label: LabelName = Field(
        default="nvidia.com/gpu.product", description="Node label that tells the GPU's type, matched with gpuType."
    )
    kuberay_namespace: Namespace = Field(
        default="kuberay-system", description="Namespace of KubeRay, which NetworkPolicies let reach the Ray heads."
    )
    gateway_api: bool = Field(default=False, description="Make HTTPRoutes; needs the CRDs of the Gateway API.")
    gateway_url: GatewayURL = Field(
        default="http://{name}.{namespace}.svc:{port}",
        description="Address at which a deployment is asked how its adapters are: {name} of its Service, {namespace}, "
        "{port}. With none, adapters count as loaded when Ray Serve runs.",
    )
    watch_namespaces: Namespaces = Field(default=[], description="Namespaces that are watched; all when empty.")
    concurrency: Concurrency = Field(default=16, description="Objects that are reconciled at the same time.")
    resync_seconds: ResyncSeconds = Field(
        default=300, description="Seconds after which every object is looked at again."
    )
    request_timeout_s: RequestSeconds = Field(
        default=10, description="Seconds that a request to the API server may take; below the Lease's."
    )
    lease_namespace: Namespace = Field(default="default", description="Namespace of the Lease.")
    lease_name: ObjectName = Field(default="diptych-operator", description="Lease that the writing replica holds.")
    lease_seconds: LeaseSeconds = Field(default=15, description="Seconds after which an unrenewed Lease is free.")
    identity: Annotated[str, StringConstraints(min_length=1, max_length=253)] = Field(
        default_factory=_own_identity, description="Name of this replica in the Lease: its pod."
    )
    port: int = Field(default=8080, ge=1, le=65_535, description="Port of /healthz, /readyz and /metrics.")
    log_level: LogLevel = Field(default="info", description="Least level logged.")
    log_format: LogFormat = Field(default="json", description="Form of a line of the log.")


VARIABLES: Final = {variable(name): name for name in Settings.model_fields}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that an environment tells. Raises SpecInvalid with every mistake, a line each."""
    given = {name: _value(name, environment[name]) for name in VARIABLES if name in environment}
    mistakes = _misspelt(environment)
    settings = None
    try:
        settings = Settings.model_validate(given)
        mistakes += _contradictions(settings)
    except ValidationError as error:
        mistakes += [f"{path[0]}: {sentence}" for path, sentence in explain(error, Settings)]
    if settings is None or mistakes:
        raise SpecInvalid("\n".join(mistakes), hint=HINT)
    return settings


def _value(name: str, text: str) -> Any:  # noqa: ANN401 - a text or a list of texts
    field = Settings.model_fields[VARIABLES[name]]
    if get_origin(field.annotation) is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _misspelt(environment: Mapping[str, str]) -> list[str]:
    """Return what is wrong with variables that are nearly ours. Others of our prefix belong to tests or Services."""
    found = []
    for name in environment:
        if name.startswith(PREFIX) and name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=NEARLY)
            found += [f"{name}: unknown variable. Did you mean {near[0]}?"] if near else []
    return found


def _contradictions(settings: Settings) -> list[str]:
    """Return what does not go together: a request that outlives the Lease could write after another took over."""
    timeout_s, lease_s = settings.request_timeout_s, settings.lease_seconds
    if timeout_s < lease_s:
        return []
    return [f"{variable('request_timeout_s')}: {timeout_s:g} must be below {variable('lease_seconds')}, {lease_s}."]
