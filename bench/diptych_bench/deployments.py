"""A deployment of the shipped base on this machine, for the time of a measurement."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.serveconfig import APPLICATION
from diptych_api.servingconfig import registry_config, serving_config
from diptych_bench.noop import no_engine
from diptych_bench.processes import named
from diptych_serving.local import served
from diptych_serving.until_ready import wait_until_ready

HTTP_PORT: Final = 18_571
GRPC_PORT: Final = HTTP_PORT + 1
HERE: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployment that answers."""

    url: str
    grpc_address: str

    @property
    def gateways(self) -> list[psutil.Process]:
        """The processes of the gateway."""
        return named(os.getpid(), f"ServeReplica:{APPLICATION}:Gateway")

    @property
    def proxies(self) -> list[psutil.Process]:
        """Ray Serve's own processes in front of the gateway."""
        return named(os.getpid(), "ProxyActor")


def spec_of(values: dict[str, Any]) -> DiffusionDeploymentSpec:
    """Return a deployment of the shipped base."""
    endpoints = {"http": {"port": HTTP_PORT}, "grpc": {"port": GRPC_PORT}}
    base = {"base": {"builtin": "tiny-emoji"}, "endpoints": endpoints, "resources": {"cpus": 1}}
    return DiffusionDeploymentSpec.model_validate({**base, **values})


@contextmanager
def deployed(*, draws: bool, **values: Any) -> Iterator[Deployed]:  # noqa: ANN401 - fields of the deployment
    """Serve for the time of the body, with the real engine or with one that draws nothing."""
    os.environ["PYTHONPATH"] = str(HERE)  # or Ray's processes do not find this package
    spec = spec_of(values)
    config = serving_config("bench", None, spec)
    with ExitStack() as stack:
        if not draws:
            stack.enter_context(no_engine())
        url = stack.enter_context(served(config, registry_config(spec, []), host="127.0.0.1"))
        wait_until_ready(url, lambda _: None)
        yield Deployed(url, f"127.0.0.1:{GRPC_PORT}")
