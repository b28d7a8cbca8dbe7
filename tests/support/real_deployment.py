"""A deployment on a real Ray Serve, and a client of it."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status

from diptych_api.serveconfig import APPLICATION
from diptych_api.servingconfig import RegistryConfig, ServingConfig
from diptych_serving.local import _wait_until_running, apply
from diptych_serving.until_ready import wait_until_ready
from support.processes import descendants

ENGINE = f"ServeReplica:{APPLICATION}:Engine"
DOG = {"prompt": "a dog", "seed": 7}
LONGEST_WAIT_S = 180


def engines() -> list[int]:
    """Return the processes of the engine replicas."""
    return descendants(ENGINE, os.getpid())


@dataclass
class Deployment:
    """The deployment, and a client of it."""

    url: str
    config: ServingConfig
    spec: dict[str, Any]
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(base_url=self.url, timeout=60)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        values: dict[str, Any] = answer.json()
        return values

    def follow(self, **values: Any) -> None:
        """Change what the registry holds, as a change of its user_config does on a cluster."""
        followed = RegistryConfig.model_validate({**self.spec, **values})
        apply(self.config, followed, host="127.0.0.1")

    def change(self, **values: Any) -> None:
        """Change the deployment itself, which restarts what depends on it."""
        followed = RegistryConfig.model_validate(self.spec)
        apply(self.config.model_copy(update=values), followed, host="127.0.0.1")

    def scale(self, **values: Any) -> None:
        """Change how many engines there are, and wait until they are."""
        self.change(**{"replicas": None, "autoscaling": None} | values)
        _wait_until_running(lambda _: None, time.sleep)
        wait_until_ready(self.url, lambda _: None)

    def until(self, condition: Any, path: str) -> httpx2.Response:
        """Ask again and again until an answer meets the condition; a gateway that is being replaced may be silent."""
        deadline, told = time.monotonic() + LONGEST_WAIT_S, "nothing"
        while time.monotonic() < deadline:
            with suppress(httpx2.TransportError):
                answer = self.client.get(path)
                told = answer.text
                if condition(answer):
                    return answer
            time.sleep(0.1)
        raise AssertionError(f"{path} still answers {told}")


def details_of(error: Any) -> dict[str, AnyMessage]:
    """Return the details of a gRPC error by the names of their types, such as RetryInfo."""
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    return {part.type_url.rpartition(".")[2]: part for part in status.details}
