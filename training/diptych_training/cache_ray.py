"""Encoding spread over a Ray cluster."""

from collections.abc import Iterator, Sequence

import ray
from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

from diptych_api.errors import DiptychError, HostOutOfMemory, WorkerLost
from diptych_training.cache import Encode
from diptych_training.cache_encode import Item

Reference = ray.ObjectRef[bytes]


def ray_map(encode: Encode, chunks: Sequence[Sequence[Item]], *, num_gpus: float = 0) -> Iterator[bytes]:
    """Yield the shard of each chunk as it is done, one Ray task each; ``num_gpus`` is what a task takes.

    A task takes one CPU. No more than two tasks for each CPU of the cluster are out at once, so that results do not
    pile up. A worker keeps the models that it loaded for its next task.

    Raises:
        DiptychError: what ``encode`` raised; HostOutOfMemory or WorkerLost when workers keep dying.

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
            yield _result(done)
    finally:
        for reference in running:
            ray.cancel(reference)


def _encode(encode: Encode, chunk: Sequence[Item]) -> bytes:
    return encode(chunk)


def _result(reference: Reference) -> bytes:
    try:
        data: bytes = ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, DiptychError):
            raise error.cause from None
        raise
    except OutOfMemoryError as error:
        raise HostOutOfMemory(
            "Encoding pictures took more memory than there is.", hint="Use a machine with more."
        ) from error
    except WorkerCrashedError as error:
        raise WorkerLost("Workers that encode pictures died again and again.", hint="See Ray's logs.") from error
    return data
