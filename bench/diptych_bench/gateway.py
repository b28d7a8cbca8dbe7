"""What the gateway adds to drawing: a real Ray Serve deployment whose engine answers at once, asked one by one."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
import httpx2

from diptych_bench.deployments import Deployed, deployed
from diptych_bench.figures import percentile, save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.processes import cpu_seconds
from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub

STEPS: Final = (1, 30)
"""An engine tells of every step, and each telling passes through Ray."""
SIDES: Final = (64, 512)
WARM_UP: Final = 20
MILLISECONDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is asked."""

    requests: int = 200


def gateway(effort: Effort) -> None:
    """Measure, print and save."""
    with watched() as weather, deployed(draws=False) as deployment:
        latencies = _latencies(deployment, effort.requests)
    columns = ("asked", "p50 ms", "p99 ms", "gateway's CPU ms per request")
    show("gateway over an engine that answers at once", columns, [(k, *v.values()) for k, v in latencies.items()])
    print(save("gateway", this_machine(), weather, {"effort": effort, "latencies": latencies}))


def _latencies(deployment: Deployed, count: int) -> dict[str, dict[str, float]]:
    with (
        httpx2.Client(base_url=deployment.url, timeout=60) as client,
        grpc.insecure_channel(deployment.grpc_address) as channel,
    ):
        return {name: _asked(deployment, ask, count) for name, ask in _questions(client, channel).items()}


def _questions(client: httpx2.Client, channel: grpc.Channel) -> Mapping[str, Callable[[], Any]]:
    """Return what is asked, by name; first a route that draws nothing, which is what Ray Serve itself takes."""
    stub = ImageServiceStub(channel)
    questions: dict[str, Callable[[], Any]] = {
        "HTTP /health": lambda: client.get("/health").raise_for_status(),
        "gRPC ListModels": lambda: stub.ListModels(pb.ListModelsRequest(), timeout=60),
    }
    for side in SIDES:
        for steps in STEPS:
            how: dict[str, Any] = {"prompt": "a red apple", "seed": 7, "steps": steps, "height": side, "width": side}
            words = f"generate, {side}², {steps} step{'s' if steps > 1 else ''}"
            message = pb.GenerateRequest(params=pb.Params(**how))
            questions[f"HTTP {words}"] = partial(_posted, client, how)
            questions[f"gRPC {words}"] = partial(stub.Generate, message, timeout=60)
    return questions


def _posted(client: httpx2.Client, how: dict[str, Any]) -> httpx2.Response:
    return client.post("/v1/generate", json=how).raise_for_status()


def _asked(deployment: Deployed, ask: Callable[[], Any], count: int) -> dict[str, float]:
    for _ in range(WARM_UP):
        ask()
    seconds, gateways = [], deployment.gateways
    before = sum(cpu_seconds(gateways).values())
    for _ in range(count):
        started = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - started)
    spent = sum(cpu_seconds(gateways).values()) - before
    taken = [MILLISECONDS * value for value in seconds]
    p50, p99 = percentile(taken, 50), percentile(taken, 99)
    return {"p50_ms": p50, "p99_ms": p99, "gateway_cpu_ms": round(MILLISECONDS * spent / count, 2)}
