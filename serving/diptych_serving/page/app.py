"""The Ray Serve application of the page: ``diptych_serving.page.app:build``."""

from typing import Any, Final

from fastapi import FastAPI
from pydantic import ValidationError
from ray import serve
from ray.serve import Application

from diptych_api.errors import SpecInvalid
from diptych_api.serveconfig import PAGE_DEPLOYMENT, SMALL_CPUS
from diptych_api.servingconfig import PageConfig
from diptych_api.wire import from_wire

VISITORS: Final = 10_000
"""Connections at once: a visitor holds two while the page is open."""
DRAIN_S: Final = 2.0
"""Open pages never end by themselves."""


class Page:
    """Serves the page from one replica: a visitor's state lives in its memory."""

    def __init__(self, api_url: str, title: str) -> None:
        self._api_url = api_url
        self._title = title

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return what Ray Serve serves."""
        from diptych_serving.page.blocks import page_app  # noqa: PLC0415 - Gradio takes seconds

        return page_app(self._api_url, self._title)


def build(args: dict[str, Any]) -> Application:
    """Return the application for the wire form of a PageConfig. Raises SpecInvalid."""
    try:
        config = from_wire(PageConfig, args)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecInvalid(f"args.{where}: {first['msg']}", hint="Write args with serve_config().") from error
    deployment = serve.deployment(
        name=PAGE_DEPLOYMENT,
        num_replicas=1,
        max_ongoing_requests=VISITORS,
        graceful_shutdown_timeout_s=DRAIN_S,
        ray_actor_options={"num_cpus": SMALL_CPUS},
    )(serve.ingress()(Page))
    return deployment.bind(config.api_url, config.title)
