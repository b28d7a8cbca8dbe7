"""The configuration that Ray Serve itself reads: what `diptych serve` applies and what a RayService carries."""

from typing import Any, Final

from diptych_api.endpoints import Page
from diptych_api.enginescale import engine_scale
from diptych_api.servingconfig import PageConfig, RegistryConfig, ServingConfig, wire

APPLICATION: Final = "images"
IMPORT_PATH: Final = "diptych_serving.app:build"
PAGE_PATH: Final = "/ui"
EVERY_INTERFACE: Final = "0.0.0.0"  # noqa: S104 - a name for it
GATEWAY: Final = "Gateway"
ENGINE: Final = "Engine"
JOBS: Final = "Jobs"
REGISTRY: Final = "Registry"
LIMITER: Final = "Limiter"
PAGE: Final = "Page"
SMALL_CPUS: Final = 0.05
"""Of every deployment but the engines."""
ENGINE_RESOURCE: Final = "diptych_engine"
"""A worker pod of a RayService has one of it, so that it holds one engine and nothing else."""
HEAD_RESOURCE: Final = "node:__internal_head__"
"""Ray gives it to the head. What is there keeps no worker from being taken away."""
SHARE: Final = 0.001
LONGEST_S: Final = 90_000
"""Above every limits.requestTimeoutSeconds, which the gateway keeps itself and may change while serving."""
SERVICER: Final = "diptych_serving.v1.images_pb2_grpc.add_ImageServiceServicer_to_server"


def serve_config(
    config: ServingConfig, followed: RegistryConfig, *, host: str = EVERY_INTERFACE, pinned: bool = False
) -> dict[str, Any]:
    """Return the configuration, `serveConfigV2` as plain values.

    A change of ``followed`` alone changes the `user_config` of one deployment and how long others may take to leave;
    a change of the replicas how many engines there are, and one of the page's title the page. So nothing restarts.
    ``pinned`` puts one engine on each worker of a RayService and all else on its head.
    """
    http = {
        "host": host,
        "port": config.endpoints.http.port,
        "request_timeout_s": LONGEST_S,
    }
    application = {
        "name": APPLICATION,
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": wire(arguments(config)),
        "deployments": _deployments(config, followed, host, pinned=pinned),
    }
    grpc = config.endpoints.grpc
    servicers = {
        "port": grpc.port,
        "grpc_servicer_functions": [SERVICER] if grpc.enabled else [],
        "enable_reflection": grpc.reflection,
        "request_timeout_s": LONGEST_S,
    }
    return {
        "proxy_location": "EveryNode",
        "http_options": http,
        "grpc_options": servicers,
        "applications": [application],
    }


def arguments(config: ServingConfig) -> ServingConfig:
    """Return what the application gets as arguments, without what changes while it runs."""
    return config.model_copy(update={"replicas": None, "autoscaling": None, "ui": Page(enabled=config.ui.enabled)})


def _deployments(config: ServingConfig, followed: RegistryConfig, host: str, *, pinned: bool) -> list[dict[str, Any]]:
    """Return what differs from the application's code, by deployment."""
    drain = {"graceful_shutdown_timeout_s": followed.limits.drain_timeout_seconds}
    own: dict[str, dict[str, Any]] = {
        REGISTRY: {"user_config": user_config(followed.model_copy(update={"replicas": config.replicas}))},
        GATEWAY: drain,
        JOBS: drain,
        ENGINE: drain | engine_scale(config.replicas, config.autoscaling),
    }
    if config.ui.enabled:
        own[PAGE] = {"user_config": wire(_page(config, host))}
    if pinned:
        gets = config.resources
        one = {"num_cpus": gets.cpus, "num_gpus": gets.gpus, "resources": {ENGINE_RESOURCE: 1}}
        own = {name: values | _on_head() for name, values in (own | {LIMITER: {}}).items()}
        own[ENGINE] |= {"ray_actor_options": one}
    return [{"name": name, **values} for name, values in own.items()]


def user_config(followed: RegistryConfig) -> dict[str, Any]:
    """Return what the registry reads. Defaults are left out, so that an older image takes what a newer program says.

    It is never empty: Ray Serve tells a replica nothing of an empty one.
    """
    return {"adapters": [], **followed.model_dump(mode="json", by_alias=True, exclude_defaults=True)}


def _on_head() -> dict[str, Any]:
    return {"ray_actor_options": {"num_cpus": SMALL_CPUS, "resources": {HEAD_RESOURCE: SHARE}}}


def _page(config: ServingConfig, host: str) -> PageConfig:
    """Return what the page follows. Ray Serve listens on the machine of every replica, so on the page's."""
    here = "127.0.0.1" if host == EVERY_INTERFACE else host
    return PageConfig(title=config.ui.title, api_url=f"http://{here}:{config.endpoints.http.port}")
