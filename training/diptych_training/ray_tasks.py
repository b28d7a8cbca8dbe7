"""From what Ray raises for a task to errors that people know."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

from diptych_api.errors import HostOutOfMemory, WorkerLost

MORE_MEMORY = "Use a machine with more memory, or raise spec.resources.memoryPerWorker."


@contextmanager
def task_failures_named(doing: str) -> Iterator[None]:
    """Turn what ray.get raises for a task in the body into what the task raised, or into an error of ours.

    Raises:
        Exception: the one of the task.
        HostOutOfMemory: when Ray ended the task, and its further tries, for want of memory.
        WorkerLost: when its worker died again and again.

    """
    try:
        yield
    except RayTaskError as error:
        raise error.cause from error
    except OutOfMemoryError as error:
        raise HostOutOfMemory(f"The machine's memory ran out while {doing}.", hint=MORE_MEMORY) from error
    except WorkerCrashedError as error:
        hint = f"A worker that is killed without a word often lacked memory. {MORE_MEMORY}"
        raise WorkerLost(f"Workers died again and again while {doing}.", hint=hint) from error
