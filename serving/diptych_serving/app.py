"""The Ray Serve application: ``diptych_serving.app:build``."""

from typing import Any, Final

from pydantic import ValidationError
from ray import serve
from ray.serve import Application

from diptych_api.enginescale import engine_scale
from diptych_api.errors import SpecInvalid
from diptych_api.limits import LARGEST_QUEUE
from diptych_api.serveconfig import ENGINE, GATEWAY, JOBS, LIMITER, PAGE, SMALL_CPUS
from diptych_api.servingconfig import PageConfig, RegistryConfig, ServingConfig, wire
from diptych_api.wire import from_wire
from diptych_serving.engine_replica import EngineReplica
from diptych_serving.gateway import Gateway, http_app
from diptych_serving.jobs_replica import JobsReplica
from diptych_serving.limiter import LimiterReplica
from diptych_serving.page.app import Page
from diptych_serving.registry import Registry
from diptych_serving.starting import engine_trouble

FOLLOWERS: Final = 10_000
"""Calls that wait for news of the registry, and requests at gateway and page, which have limits of their own."""
LEAVES_S: Final = 2.0
"""How long what never ends by itself may keep a replica: open pages, and calls that wait for news."""


def build(args: dict[str, Any]) -> Application:
    """Return the application for the wire form of a ServingConfig.

    The configuration of registry and page goes as the ``user_config`` of the deployments Registry and Page, and how
    many engines there are as options of the deployment Engine, as serve_config() writes them.

    Raises:
        SpecInvalid: names the argument that is wrong; Ray itself accepts unknown ones.

    """
    try:
        config = from_wire(ServingConfig, args)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecInvalid(f"args.{where}: {first['msg']}", hint="Write args with serving_config().") from error
    follows = _small(Registry, graceful_shutdown_timeout_s=LEAVES_S)
    registry = follows.options(user_config=wire(RegistryConfig())).bind(engine_trouble)
    limiter = _small(LimiterReplica, name=LIMITER).bind(config.namespace, config.name, registry)
    values = wire(config)
    engines = _engine(config).bind(values, registry)
    log = {"encoding": "JSON", "log_level": config.log_level}
    jobs = _small(JobsReplica, name=JOBS, logging_config=log)
    started = jobs.bind(values, engines, registry, limiter)
    gateway = _deployment(
        serve.ingress(http_app(config.endpoints, has_page=config.ui.enabled))(Gateway),
        name=GATEWAY,
        max_ongoing_requests=FOLLOWERS,
        ray_actor_options={"num_cpus": SMALL_CPUS},
        logging_config=log,
    )
    pages = (_page(config),) if config.ui.enabled else ()
    return gateway.bind(values, engines, registry, limiter, started, *pages)


def _page(config: ServingConfig) -> Application:
    """Return the page, of one replica: a visitor's state lives in its memory."""
    default = PageConfig(api_url=f"http://127.0.0.1:{config.endpoints.http.port}")
    page = _small(Page, name=PAGE, num_replicas=1, graceful_shutdown_timeout_s=LEAVES_S)
    return page.options(user_config=wire(default)).bind()


def _small(kind: type, **options: Any) -> serve.Deployment:  # noqa: ANN401 - of serve.deployment
    options = {"name": kind.__name__, "ray_actor_options": {"num_cpus": SMALL_CPUS}, **options}
    return _deployment(kind, max_ongoing_requests=FOLLOWERS, **options)


def _deployment(kind: type, **options: Any) -> serve.Deployment:  # noqa: ANN401 -- of serve.deployment
    deployment: serve.Deployment = serve.deployment(**options)(kind)
    return deployment


def _engine(config: ServingConfig) -> serve.Deployment:
    return _deployment(
        EngineReplica,
        name=ENGINE,
        max_ongoing_requests=2 * LARGEST_QUEUE,
        health_check_timeout_s=60,
        ray_actor_options={"num_cpus": config.resources.cpus, "num_gpus": config.resources.gpus},
        **engine_scale(config.replicas, config.autoscaling),
    )
