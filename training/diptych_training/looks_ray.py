"""Pictures looked at by Ray tasks, wherever the cluster has CPUs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import ray

from diptych_api.errors import DatasetInvalid
from diptych_training.data.eyes import BATCH, THREADS, Asked, Content, Here, Look, content_of
from diptych_training.ray_tasks import task_failures_named

CHUNK: Final = 32
AHEAD: Final = 2
"""Tasks for each CPU that are out at once, so that pictures do not pile up."""
WAIT_S: Final = 0.5
Seen = Look | DatasetInvalid


class RayEyes:
    """Looks at files by Ray tasks of a CPU each; a few files are looked at here, which is quicker.

    The driver reads the files and they travel with their task, so workers need not see the data set. ``check`` is
    called again and again while tasks run, and may raise to give up.
    """

    def __init__(self, check: Callable[[], None], *, worth: int = BATCH) -> None:
        self._places = int(ray.cluster_resources().get("CPU", 0))
        self.at_once = max(BATCH, CHUNK * AHEAD * self._places)
        self._check, self._worth = check, worth

    def __call__(self, asked: Asked, paths: Sequence[Path]) -> Iterable[Seen]:
        """Return what each file holds, in their order. Raises HostOutOfMemory and WorkerLost."""
        if len(paths) < self._worth or not self._places:
            return Here()(asked, paths)
        return list(self._spread(asked, paths))

    def _spread(self, asked: Asked, paths: Sequence[Path]) -> Iterator[Seen]:
        task, shared = ray.remote(num_cpus=1)(_look), ray.put(asked)
        out = deque[ray.ObjectRef[list[Seen]]]()
        chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
        try:
            with ThreadPoolExecutor(THREADS) as threads:
                for chunk in chunks:
                    if len(out) == AHEAD * self._places:
                        yield from self._seen(out.popleft())
                    out.append(task.remote(shared, list(threads.map(content_of, chunk))))
            while out:
                yield from self._seen(out.popleft())
        finally:
            for reference in out:
                ray.cancel(reference)

    def _seen(self, reference: "ray.ObjectRef[list[Seen]]") -> list[Seen]:
        """Wait for a task."""
        try:
            while not ray.wait([reference], timeout=WAIT_S)[0]:
                self._check()
            with task_failures_named("looking at pictures"):
                seen: list[Seen] = ray.get(reference)
                return seen
        except BaseException:
            ray.cancel(reference)
            raise


def _look(asked: Asked, contents: list[Content]) -> list[Seen]:
    return [asked.look(content) for content in contents]
