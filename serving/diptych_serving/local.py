"""A deployment on one machine: Ray started here, its logs in a file, gone when the body ends."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpx2
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from diptych_api.errors import RetryLater, RunFailed
from diptych_api.serveconfig import APPLICATION, PAGE_PATH, serve_config
from diptych_api.servingconfig import RegistryConfig, ServingConfig
from diptych_serving.starting import engine_trouble

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
READY_PAUSE_S: Final = 0.5
READY_TIMEOUT_S: Final = 600.0
PAGE_TIMEOUT_S: Final = 120.0
Pause = Callable[[float], None]
"""Waits so many seconds."""


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
    """Serve for the time of the body; yield the URL of the HTTP API, which answers already. Then finish what is drawn.

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
        yield f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{config.endpoints.http.port}"  # noqa: S104 - asked for
    finally:
        with suppress(Exception):
            serve.delete(APPLICATION)
        if address is None:
            ray.shutdown()


def apply(config: ServingConfig, followed: RegistryConfig, *, host: str) -> None:
    """Bring the application to this configuration, as KubeRay does on a cluster. Raises RunFailed."""
    values = serve_config(config, followed, host=host)
    try:
        serve.start(
            proxy_location=values["proxy_location"],
            http_options=values["http_options"],
            grpc_options=values["grpc_options"],
            logging_config={"log_level": "ERROR", "encoding": "TEXT"},
        )
        client = _get_global_client()
        if client is None:
            raise RunFailed("Ray Serve has no controller.", hint="Start again.")
        client.deploy_apps(ServeDeploySchema(**values))
    except (RayServeException, RayError, RuntimeError) as error:
        raise RunFailed(f"The deployment did not start: {error}", hint="The log of Ray Serve tells more.") from error


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
    """Wait for the application and its port. Raises RunFailed with what Ray Serve says."""
    while True:
        application = serve.status().applications.get(APPLICATION)
        status = "" if application is None else application.status
        if status == ApplicationStatus.RUNNING:
            return
        if application is not None and status in BROKEN:
            told = [deployment.message for deployment in application.deployments.values() if deployment.message]
            problem = " ".join([application.message, *told])[-2000:]
            raise RunFailed(f"The deployment did not start: {problem}", hint="The log of Ray Serve tells more.")
        if trouble := engine_trouble():
            tell(trouble)
        pause(PAUSE_S)


def wait_for_page(url: str, pause: Pause = time.sleep) -> str | None:
    """Wait until the page can be opened; return why it cannot, after two minutes. The API serves all the same."""
    told = ""
    for answer in _answers(f"{url}{PAGE_PATH}/", pause, timeout_s=2, patience_s=PAGE_TIMEOUT_S):
        if answer.status_code == httpx2.codes.OK:
            return None
        told = answer.text.strip()
        if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE:
            break
    return told or "It is not there after two minutes."


def wait_until_ready(url: str, tell: Callable[[str], None], pause: Pause = time.sleep) -> dict[str, Any]:
    """Return what /ready says once it says yes; ``tell`` hears what is wrong. Raises RunFailed after ten minutes."""
    notes = list[str]()
    for answer in _answers(f"{url}/ready", pause, timeout_s=10, patience_s=READY_TIMEOUT_S):
        values: dict[str, Any] = answer.json()
        notes = values["notes"]
        for note in notes:
            tell(note)
        if answer.status_code == httpx2.codes.OK:
            return values
    hint = "The log of Ray Serve tells why."
    raise RunFailed(" ".join(["The deployment was not ready after 10 minutes.", *notes]), hint=hint)


def _answers(url: str, pause: Pause, *, timeout_s: float, patience_s: float) -> Iterator[httpx2.Response]:
    """Ask again and again for ``patience_s``, with a pause between; yield the answers that come."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with suppress(httpx2.TransportError):
            yield httpx2.get(url, timeout=timeout_s, trust_env=False)
        pause(READY_PAUSE_S)


def _start_ray(config: ServingConfig, address: str | None) -> None:
    if ray.is_initialized():
        return
    os.environ.update({key: value for key, value in LOCAL_ENVIRONMENT.items() if key not in os.environ})
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    engines = config.autoscaling.max if config.autoscaling is not None else config.replicas or 1
    cores = max(os.cpu_count() or 1, engines * config.resources.cpus) + SPARE_CORES
    here: dict[str, Any] = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    for attempt in range(1, STARTS + 1):
        try:
            ray.init(**quiet, **(here if address is None else {"address": address}))
        except Exception as error:
            ray.shutdown()
            if attempt == STARTS:
                raise RetryLater(f"Ray did not start: {error}", hint="Try again when less runs here.") from error
        else:
            return
