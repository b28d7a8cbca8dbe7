"""The Ray Serve application: ``diptych_serving.app:build``."""

from typing import Any, Final

from pydantic import ValidationError
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from diptych_api.errors import SpecInvalid
from diptych_api.limits import LARGEST_QUEUE
from diptych_api.serveconfig import ENGINE, GATEWAY, JOBS
from diptych_api.servingconfig import RegistryConfig, ServingConfig, wire
from diptych_api.wire import from_wire
from diptych_serving.engine_replica import EngineReplica
from diptych_serving.gateway import Gateway, app
from diptych_serving.jobs_replica import JobsReplica
from diptych_serving.limiter import LimiterReplica
from diptych_serving.registry import Registry

FOLLOWERS: Final = 10_000
"""Calls that wait for news of the registry, and requests at the gateway, which has limits of its own."""
SMALL: Final = 0.05
LOOK_BACK_S: Final = 30.0


def build(args: dict[str, Any]) -> Application:
    """Return the application for the wire form of a ServingConfig.

    The registry's configuration goes as the ``user_config`` of the deployment Registry.

    Raises:
        SpecInvalid: names the argument that is wrong; Ray itself accepts unknown ones.

    """
    try:
        config = from_wire(ServingConfig, args)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecInvalid(f"args.{where}: {first['msg']}", hint="Write args with serving_config().") from error
    registry = _small(Registry).options(user_config=wire(RegistryConfig())).bind()
    limiter = _small(LimiterReplica, name="Limiter").bind(config.namespace, config.name, registry)
    engines = _engine(config).bind(wire(config), registry)
    log = {"encoding": "JSON", "log_level": config.log_level}
    jobs = _small(JobsReplica, name=JOBS, logging_config=log)
    started = jobs.bind(config.name, engines, registry, limiter)
    gateway = _deployment(
        serve.ingress(app)(Gateway),
        name=GATEWAY,
        max_ongoing_requests=FOLLOWERS,
        ray_actor_options={"num_cpus": SMALL},
        logging_config=log,
    )
    return gateway.bind(config.name, engines, registry, limiter, started)


def _small(kind: type, **options: Any) -> serve.Deployment:  # noqa: ANN401 - of serve.deployment
    options = {"name": kind.__name__, "ray_actor_options": {"num_cpus": SMALL}, **options}
    return _deployment(kind, max_ongoing_requests=FOLLOWERS, **options)


def _deployment(kind: type, **options: Any) -> serve.Deployment:  # noqa: ANN401 -- of serve.deployment
    deployment: serve.Deployment = serve.deployment(**options)(kind)
    return deployment


def _engine(config: ServingConfig) -> serve.Deployment:
    scale = config.autoscaling
    replicas: dict[str, Any] = {"num_replicas": 1 if config.replicas is None else config.replicas}
    if scale is not None:
        replicas = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=scale.min,
                initial_replicas=max(scale.min, 1),
                max_replicas=scale.max,
                target_ongoing_requests=scale.target_ongoing_requests,
                downscale_to_zero_delay_s=scale.scale_to_zero_after_seconds,
                look_back_period_s=LOOK_BACK_S,
            )
        }
    return _deployment(
        EngineReplica,
        name=ENGINE,
        max_ongoing_requests=2 * LARGEST_QUEUE,
        health_check_timeout_s=60,
        ray_actor_options={"num_cpus": config.resources.cpus, "num_gpus": config.resources.gpus},
        **replicas,
    )
