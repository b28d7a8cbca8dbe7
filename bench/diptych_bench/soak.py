"""Many clients at once for some minutes: what they are answered, and whether the gateway's memory stays."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import httpx2
import numpy as np

from diptych_bench.deployments import Deployed, deployed
from diptych_bench.figures import percentile, save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.processes import resident_bytes
from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub

BODY: Final[dict[str, Any]] = {"prompt": "a red apple", "steps": 2, "guidance_scale": 1}
LONGEST_S: Final = 120
LOOK_EVERY_S: Final = 1.0
MEGABYTE: Final = 1e6
LONGEST_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How many ask, for how long. Half speak HTTP, half gRPC."""

    clients: int = 200
    minutes: float = 2.0


@dataclass
class Record:
    """What was answered, in how many seconds, and what memory was held each second."""

    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    gateway_mb: list[float] = field(default_factory=list)
    proxy_mb: list[float] = field(default_factory=list)


def soak(effort: Effort) -> bool:
    """Measure with the real engine and with one that draws nothing; return whether nothing but 429 went wrong."""
    with watched() as weather:
        records = {}
        for name, draws in (("real engine", True), ("engine that answers at once", False)):
            with deployed(draws=draws) as deployment:
                record = Record()
                asyncio.run(_all(deployment, effort, record))
                records[name] = _figures(record, effort)
    for name, figures in records.items():
        show(f"{effort.clients} clients for {effort.minutes:g} minutes, {name}", ("figure", ""), list(figures.items()))
    print(save("soak", this_machine(), weather, {"effort": effort, "runs": records}))
    return not any(figures["errors"] for figures in records.values())


async def _all(deployment: Deployed, effort: Effort, record: Record) -> None:
    end = time.monotonic() + 60 * effort.minutes
    limits = httpx2.Limits(max_connections=effort.clients)
    async with (
        httpx2.AsyncClient(base_url=deployment.url, timeout=LONGEST_S, limits=limits) as client,
        grpc.aio.insecure_channel(deployment.grpc_address) as channel,
        asyncio.TaskGroup() as group,
    ):
        stub: Any = ImageServiceStub(channel)
        group.create_task(_look(deployment, end, record))
        for number in range(effort.clients):
            asked = _by_grpc(stub, number) if number % 2 else _by_http(client, number)
            group.create_task(_again_and_again(asked, end, record))


async def _again_and_again(ask: Any, end: float, record: Record) -> None:  # noqa: ANN401 - a coroutine function
    while time.monotonic() < end:
        started = time.monotonic()
        answer, pause_s = await ask()
        record.answers[answer] += 1
        if answer == "200":
            record.seconds.append(time.monotonic() - started)
        await asyncio.sleep(min(pause_s, LONGEST_PAUSE_S))


def _by_http(client: httpx2.AsyncClient, number: int) -> Any:  # noqa: ANN401 - a coroutine function
    async def ask() -> tuple[str, float]:
        try:
            answer = await client.post("/v1/generate", json={**BODY, "seed": number})
        except httpx2.HTTPError as error:
            return type(error).__name__, 1.0
        return str(answer.status_code), float(answer.headers.get("retry-after", 0))

    return ask


def _by_grpc(stub: Any, number: int) -> Any:  # noqa: ANN401 - a coroutine function
    request = pb.GenerateRequest(params=pb.Params(**BODY, seed=number))

    async def ask() -> tuple[str, float]:
        try:
            await stub.Generate(request, timeout=LONGEST_S)
        except grpc.aio.AioRpcError as error:
            refused = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            return "429" if refused else error.code().name, 2.0 if refused else 1.0
        return "200", 0.0

    return ask


async def _look(deployment: Deployed, end: float, record: Record) -> None:
    gateways, proxies = deployment.gateways, deployment.proxies
    while time.monotonic() < end:
        with suppress(ProcessLookupError):
            record.gateway_mb.append(resident_bytes(gateways) / MEGABYTE)
            record.proxy_mb.append(resident_bytes(proxies) / MEGABYTE)
        await asyncio.sleep(LOOK_EVERY_S)


def _figures(record: Record, effort: Effort) -> dict[str, Any]:
    errors = {name: count for name, count in record.answers.items() if name not in ("200", "429")}
    return {
        "pictures": record.answers["200"],
        "refused_429": record.answers["429"],
        "errors": errors,
        "pictures_per_s": round(record.answers["200"] / (60 * effort.minutes), 1),
        "p50_s": percentile(record.seconds, 50),
        "p99_s": percentile(record.seconds, 99),
        **_memory("gateway", record.gateway_mb),
        **_memory("proxy", record.proxy_mb),
    }


def _memory(name: str, megabytes: Sequence[float]) -> dict[str, float]:
    """Return the memory at the start, at the end, and how fast it grew in the second half of the time."""
    half = megabytes[len(megabytes) // 2 :]
    growth = np.polyfit(np.arange(len(half)) * LOOK_EVERY_S / 60, half, 1)[0]
    return {
        f"{name}_mb_first": round(megabytes[0], 1),
        f"{name}_mb_half": round(half[0], 1),
        f"{name}_mb_last": round(megabytes[-1], 1),
        f"{name}_mb_per_minute_second_half": round(float(growth), 2),
    }
