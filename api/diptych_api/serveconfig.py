"""The configuration that Ray Serve itself reads: what `diptych serve` applies and what a RayService carries."""

from typing import Any, Final

from diptych_api.servingconfig import PageConfig, RegistryConfig, ServingConfig, wire

APPLICATION: Final = "images"
IMPORT_PATH: Final = "diptych_serving.app:build"
PAGE: Final = "page"
PAGE_PATH: Final = "/ui"
PAGE_IMPORT_PATH: Final = "diptych_serving.page.app:build"
EVERY_INTERFACE: Final = "0.0.0.0"  # noqa: S104 - a name for it
GATEWAY: Final = "Gateway"
ENGINE: Final = "Engine"
JOBS: Final = "Jobs"
REGISTRY: Final = "Registry"
LONGEST_S: Final = 90_000
"""Above every limits.requestTimeoutSeconds, which the gateway keeps itself and may change while serving."""
SERVICER: Final = "diptych_serving.v1.images_pb2_grpc.add_ImageServiceServicer_to_server"


def serve_config(config: ServingConfig, followed: RegistryConfig, *, host: str = EVERY_INTERFACE) -> dict[str, Any]:
    """Return the configuration, `serveConfigV2` as plain values.

    A change of ``followed`` alone changes the `user_config` of one deployment and how long others may take to leave,
    so that nothing restarts.
    """
    http = {
        "host": host,
        "port": config.endpoints.http.port,
        "request_timeout_s": LONGEST_S,
    }
    drain = {"graceful_shutdown_timeout_s": followed.limits.drain_timeout_seconds}
    application = {
        "name": APPLICATION,
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": wire(config),
        "deployments": [
            {"name": REGISTRY, "user_config": wire(followed)},
            *({"name": name, **drain} for name in (GATEWAY, JOBS, ENGINE)),
        ],
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
        "applications": [application, *_page(config, host)],
    }


def _page(config: ServingConfig, host: str) -> list[dict[str, Any]]:
    """Return the page, which can restart alone. Ray Serve listens on the machine of every replica, so on the page's."""
    if not config.ui.enabled:
        return []
    here = "127.0.0.1" if host == EVERY_INTERFACE else host
    page = PageConfig(title=config.ui.title, api_url=f"http://{here}:{config.endpoints.http.port}")
    return [{"name": PAGE, "route_prefix": PAGE_PATH, "import_path": PAGE_IMPORT_PATH, "args": wire(page)}]
