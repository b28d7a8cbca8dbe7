"""Encoding spread over a Ray cluster."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import ray

from diptych_training.ray_tasks import task_failures_named

if TYPE_CHECKING:
    from diptych_training.cache import Encode
    from diptych_training.cache_items import Item

Reference = ray.ObjectRef[bytes]


def ray_map(encode: "Encode", chunks: "Sequence[Sequence[Item]]", *, num_gpus: float = 0) -> Iterator[bytes]:
    """Yield the shard of each chunk as it is done, one Ray task each; ``num_gpus`` is what a task takes.

    A task takes one CPU. No more than two tasks for each CPU of the cluster are out at once, so that results do not
    pile up. A worker keeps the models that it loaded for its next task.

    Raises:
        Exception: what ``encode`` raised; HostOutOfMemory or WorkerLost when workers keep dying.

    """
    task = ray.remote(num_cpus=1, num_gpus=num_gpus)(_encode)
    shared = ray.put(encode)
    limit = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting, running = list(reversed(chunks)), list[Reference]()
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                running.append(task.remote(shared, waiting.pop()))
            (done,), running = ray.wait(running, num_returns=1)
            with task_failures_named("encoding pictures"):
                shard: bytes = ray.get(done)
            yield shard
    finally:
        for reference in running:
            ray.cancel(reference)


def _encode(encode: "Encode", chunk: "Sequence[Item]") -> bytes:
    return encode(chunk)
