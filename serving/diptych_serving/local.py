"""A deployment on one machine: Ray started here, its logs in a file, gone when the body ends."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from diptych_api.errors import RetryLater, RunFailed
from diptych_api.serveconfig import APPLICATION, GATEWAY, JOBS, serve_config
from diptych_api.servingconfig import RegistryConfig, ServingConfig
from diptych_serving.starting import engine_trouble, permanent
from diptych_serving.until_ready import Pause

SPARE_CORES: Final = 2
OBJECT_STORE_BYTES: Final = 10**8
STARTS: Final = 3
LOCAL_ENVIRONMENT: Final = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # or a machine that is busy for 5 seconds has no deployment
    "FORWARDED_ALLOW_IPS": "nobody",  # otherwise uvicorn believes the X-Forwarded-For of this machine
}
QUIET: Final = ("ray", "ray.serve")
BROKEN: Final = (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY)
PAUSE_S: Final = 0.2


@contextmanager
def served(
    config: ServingConfig,
    followed: RegistryConfig,
    *,
    host: str,
    address: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
    pause: Pause = time.sleep,
) -> Iterator[str]:
    """Serve for the time of the body; yield the URL of the HTTP API. Then finish what was let in.

    ``tell`` hears, again and again, what keeps the application from starting; ``pause`` waits between two looks, and
    may raise to give it up.

    Raises:
        RetryLater: when Ray did not start.
        RunFailed: when the application did not, as when the port is taken or this machine has too few GPUs.

    """
    _start_ray(config, address)
    try:
        if address is None:
            _check_gpus(config)
        apply(config, followed, host=host)
        _wait_until_running(tell, pause)
        try:
            yield f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{config.endpoints.http.port}"  # noqa: S104 - asked for
        finally:
            drain(followed.limits.drain_timeout_seconds)
    finally:
        with suppress(Exception):
            serve.delete(APPLICATION)
        if address is None:
            ray.shutdown()


def apply(config: ServingConfig, followed: RegistryConfig, *, host: str) -> None:
    """Bring the application to this configuration, as KubeRay does on a cluster. Raises RunFailed."""
    values = serve_config(config, followed, host=host)
    try:
        _start_serve(values)
        client = _get_global_client()
        if client is None:
            raise RunFailed("Ray Serve has no controller.", hint="Start again.")
        client.deploy_apps(ServeDeploySchema(**values))
    except (RayServeException, RayError, RuntimeError) as error:
        raise RunFailed(f"The deployment did not start: {error}", hint="The log of Ray Serve tells more.") from error


def _start_serve(values: dict[str, Any]) -> None:
    """Start Ray Serve, or find it. What took it too long on a busy machine goes on meanwhile. Raises RetryLater."""
    for attempt in range(1, STARTS + 1):
        try:
            serve.start(
                proxy_location=values["proxy_location"],
                http_options=values["http_options"],
                grpc_options=values["grpc_options"],
                logging_config={"log_level": "ERROR", "encoding": "TEXT"},
            )
        except TimeoutError as error:
            if attempt == STARTS:
                raise RetryLater(f"Ray Serve did not start: {error}", hint="Try again when less runs here.") from error
        else:
            return


def drain(timeout_s: float) -> None:
    """Let nobody in any more, and wait until everything is drawn that was let in, jobs and large grids to their end."""
    with suppress(Exception):
        parts = [serve.get_deployment_handle(name, APPLICATION).drain.remote() for name in (GATEWAY, JOBS)]
        for part in parts:
            part.result(timeout_s=timeout_s)


def _check_gpus(config: ServingConfig) -> None:
    """Raise RunFailed where engines would wait for ever for GPUs that this machine has not."""
    wanted = _replicas(config) * config.resources.gpus
    there = int(ray.cluster_resources().get("GPU", 0))
    if wanted > there:
        raise RunFailed(
            f"The engine replicas need {wanted} GPUs; there are {there} here.",
            hint="Set resources.gpus to 0 to draw on the CPU, or fewer replicas.",
        )


def _replicas(config: ServingConfig) -> int:
    """Return the replicas at the start."""
    if config.autoscaling is not None:
        return max(config.autoscaling.min, 1)
    return 1 if config.replicas is None else config.replicas


def _wait_until_running(tell: Callable[[str], None], pause: Pause) -> None:
    """Wait for the application and its port.

    Raises:
        UserError: what an engine says that no other try can cure, such as BaseInvalid.
        RunFailed: with what Ray Serve says.

    """
    while True:
        application = serve.status().applications.get(APPLICATION)
        status = "" if application is None else application.status
        if status == ApplicationStatus.RUNNING:
            return
        trouble = engine_trouble()
        if (error := permanent(trouble)) is not None:
            raise error
        if application is not None and status in BROKEN:
            problem = trouble or application.message[-2000:]
            raise RunFailed(f"The deployment did not start: {problem}", hint="The log of Ray Serve tells more.")
        if trouble:
            tell(trouble)
        pause(PAUSE_S)


def _start_ray(config: ServingConfig, address: str | None) -> None:
    if ray.is_initialized():
        return
    os.environ.update({key: value for key, value in LOCAL_ENVIRONMENT.items() if key not in os.environ})
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    engines = config.autoscaling.max if config.autoscaling is not None else config.replicas or 1
    cores = max(os.cpu_count() or 1, engines * config.resources.cpus) + SPARE_CORES
    here = {
        "address": "local",
        "num_cpus": cores,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    for attempt in range(1, STARTS + 1):
        try:
            ray.init(**quiet, **(here if address is None else {"address": address}))
        except Exception as error:
            ray.shutdown()
            if attempt == STARTS:
                raise RetryLater(f"Ray did not start: {error}", hint="Try again when less runs here.") from error
        else:
            return
