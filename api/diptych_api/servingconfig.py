"""What the operator or `diptych serve` hands to the Ray Serve application.

ServingConfig goes as the application's `args` and a change of it restarts engines. RegistryConfig goes as the
`user_config` of the Registry deployment and is followed while serving. Both are strict, since Ray is not.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import Field

from diptych_api.diffusiondeployment import (
    Autoscaling,
    DiffusionDeploymentSpec,
    ReplicaResources,
    ResultCache,
)
from diptych_api.endpoints import Endpoints, Page
from diptych_api.fields import Digest, Location, Model, Name, Prompt, Text
from diptych_api.generation import GenerationDefaults, PromptTemplate
from diptych_api.limits import CIDR, Auth, Limits, RateLimit, Safety
from diptych_api.rules import rule
from diptych_api.sources import Base

MOST_ADAPTERS: Final = 64


class ServedAdapter(Model):
    """An adapter with its files found: what `fromJob` and `fromModel` come to."""

    name: Name = Field(description="Name by which requests choose it.")
    uri: Location | None = Field(default=None, description="Folder or file; unset while its job or model has none.")
    digest: Digest | None = Field(default=None, description="Digest that the files must have.")
    run: Text | None = Field(default=None, description="Run that made it.")
    strength: float = Field(default=1, ge=-2, le=2, description="Factor of the update where a request names none.")

    @property
    def mark(self) -> str:
        """Return 16 hex digits over which files it has: what an engine tells of it is told of those."""
        return hashlib.sha256(f"{self.uri}\n{self.digest}".encode()).hexdigest()[:16]


class ServingConfig(Model):
    """Arguments of the application: what needs a restart. Replicas and autoscaling come in by serve_config()."""

    name: Text = Field(description="Name of the deployment.")
    namespace: Text = Field(default="local", description="Namespace of the deployment; local on one machine.")
    base: Base = Field(description="The model that every adapter belongs to.")
    backend: Literal["PyTorch", "ONNX", "TensorRT"] = Field(
        default="PyTorch", description="What runs the UNet; ONNX is for CPUs, and TensorRT is not there yet."
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(default="auto", description="Where it runs.")
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(default="auto", description="Arithmetic.")
    slots: int = Field(default=8, ge=1, le=256, description="Adapters held in memory at once, besides the base.")
    max_rank: int = Field(default=64, ge=1, le=512, description="Highest rank of an adapter.")
    max_rows: int | None = Field(default=None, ge=1, le=1024, description="Rows of a forward; measured when unset.")
    replicas: int | None = Field(default=None, ge=0, le=1024, description="Engine replicas; 1 when unset.")
    autoscaling: Autoscaling | None = Field(default=None, description="Replicas that follow the load.")
    endpoints: Endpoints = Field(default=Endpoints(), description="How clients reach it.")
    resources: ReplicaResources = Field(default=ReplicaResources(), description="What each engine replica gets.")
    result_cache: ResultCache = Field(default=ResultCache(), description="Pictures that are kept.")
    ui: Page = Field(default=Page(), description="The web page.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")


class RegistryConfig(Model):
    """What engines and gateways follow while serving."""

    adapters: list[ServedAdapter] = Field(
        default=[], max_length=MOST_ADAPTERS, description="Adapters served beside the base."
    )
    replicas: int | None = Field(default=None, ge=0, le=1024, description="Engine replicas; with 0 none is waited for.")
    defaults: GenerationDefaults = Field(default=GenerationDefaults(), description="Settings of a picture.")
    limits: Limits = Field(default=Limits(), description="Bounds of one request.")
    rate_limit: RateLimit = Field(default=RateLimit(), description="How often clients may ask.")
    auth: Auth = Field(default=Auth(), description="Who may ask.")
    safety: Safety = Field(default=Safety(), description="What happens to flagged pictures.")
    trusted_proxies: list[CIDR] = Field(default=[], max_length=32, description="Networks of trusted proxies.")
    examples: list[Prompt] = Field(default=[], max_length=64, description="Prompts that are shown.")
    prompt_templates: list[PromptTemplate] = Field(default=[], max_length=32, description="Styles to choose from.")

    @rule("adapter names must be unique", cel="self.adapters.all(a, self.adapters.exists_one(b, b.name == a.name))")
    def _unique_adapters(self) -> bool:
        return len({adapter.name for adapter in self.adapters}) == len(self.adapters)


class PageConfig(Model):
    """What the page follows while serving."""

    title: Text = Field(default="Diptych", description="Title of the page.")
    api_url: Location = Field(description="Where the page's replica reaches the HTTP API.")


def serving_config(name: str, namespace: str | None, spec: DiffusionDeploymentSpec) -> ServingConfig:
    """Return the part of a deployment that needs a restart."""
    parts = {part: getattr(spec, part) for part in ServingConfig.model_fields if part not in ("name", "namespace")}
    return ServingConfig(name=name, namespace=namespace or "local", **parts)


def registry_config(spec: DiffusionDeploymentSpec, adapters: Iterable[ServedAdapter]) -> RegistryConfig:
    """Return the part of a deployment that is followed while serving, with adapters found."""
    parts = {part: getattr(spec, part) for part in RegistryConfig.model_fields if part != "adapters"}
    return RegistryConfig(adapters=list(adapters), **parts)


def wire(config: ServingConfig | RegistryConfig | PageConfig) -> dict[str, Any]:
    """Return a configuration as plain values, with every default written out."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def config_hash(config: ServingConfig | RegistryConfig) -> str:
    """Return 16 hex digits over a configuration; defaults count as if unwritten, so new fields change nothing."""
    values = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
