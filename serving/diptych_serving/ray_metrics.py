"""Figures for Prometheus, as Ray exports them on every node, and all nodes' on one page."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

import httpx2
import ray
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from ray.serve import metrics

from diptych_serving.records import DRAWN, Record

OURS: Final = ("ray_diptych_", "ray_serve_")
SECONDS: Final = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]
NODE_TIMEOUT_S: Final = 5.0


class DrawMetrics:
    """Counts what is drawn by this replica. The names get the prefix ``ray_``."""

    def __init__(self) -> None:
        self._requests = metrics.Counter(
            "diptych_requests", description="Requests that were let in, by how they ended.", tag_keys=("outcome",)
        )
        self._pictures = metrics.Counter(
            "diptych_pictures", description="Pictures drawn, by adapter.", tag_keys=("adapter",)
        )
        self._work = metrics.Counter("diptych_work_units", description="Work units of drawn pictures.")
        self._seconds = metrics.Histogram(
            "diptych_request_seconds", description="Seconds from being let in to the end.", boundaries=SECONDS
        )
        self._queue = metrics.Histogram(
            "diptych_queue_seconds", description="Seconds of waiting for free rows.", boundaries=SECONDS
        )

    def take(self, record: Record) -> None:
        """Count a request."""
        self._requests.inc(1, {"outcome": record.outcome})
        self._seconds.observe(record.seconds)
        if record.outcome == DRAWN:
            self._work.inc(record.work_units)
            self._queue.observe(record.queue_s)
            for side in record.sides:
                self._pictures.inc(record.pictures / len(record.sides), {"adapter": side})


class EngineMetrics:
    """How full an engine is."""

    def __init__(self) -> None:
        self._rows = metrics.Gauge("diptych_engine_rows", description="Rows that are being drawn.")
        self._waiting = metrics.Gauge("diptych_engine_waiting", description="Requests that wait for rows.")

    def take(self, rows: int, waiting: int) -> None:
        """Note how it is now."""
        self._rows.set(rows)
        self._waiting.set(waiting)


async def all_metrics() -> bytes:
    """Return the figures of all replicas on all nodes, in Prometheus' text format."""
    nodes = [node for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
    places = [f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in nodes]
    async with httpx2.AsyncClient(timeout=NODE_TIMEOUT_S, trust_env=False) as client:
        pages = await asyncio.gather(*(_page(client, place) for place in places))
    return generate_latest(_Families(merged(pages)))


def merged(pages: Iterable[str]) -> list[Metric]:
    """Return the families of all pages that are ours or Ray Serve's, each once."""
    families: dict[str, Metric] = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            if family.name.startswith(OURS):
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                families[family.name].samples += family.samples
    return list(families.values())


async def _page(client: httpx2.AsyncClient, place: str) -> str:
    """Return a node's page; a node that does not answer has none."""
    try:
        return (await client.get(place)).raise_for_status().text
    except httpx2.HTTPError:
        return ""


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
