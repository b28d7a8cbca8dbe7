"""Captions written by Ray tasks, each on the GPU that a worker has, or on a CPU."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import ray

from diptych_diffusion.loading import loading
from diptych_training.captioning.provider import Captioner, Captions, Shown
from diptych_training.captioning.writing import Batches, one_by_one
from diptych_training.ray_tasks import task_failures_named

AHEAD = 2
"""Tasks for each place of the cluster that are out at once, so that pictures do not pile up."""


def ray_batches(gpus: float) -> Batches:
    """Return what spreads batches over the cluster; ``gpus`` is what a task takes, besides a CPU.

    Pictures travel with their task, so workers need not see the data set. A worker keeps the network that it loaded.
    """

    def spread(write: Captioner, batches: Iterable[Sequence[Shown]]) -> Iterator[tuple[Sequence[Shown], Captions]]:
        task, shared = ray.remote(num_cpus=1, num_gpus=gpus)(_write), ray.put(write)
        places = ray.cluster_resources().get("GPU", 0) / gpus if gpus else ray.cluster_resources().get("CPU", 1)
        left, out = iter(batches), dict[ray.ObjectRef[Any], Sequence[Shown]]()
        try:
            while True:
                for batch in islice(left, max(1, AHEAD * int(places)) - len(out)):
                    out[task.remote([shared, ray.put(batch)])] = batch
                if not out:
                    return
                (done,), _ = ray.wait(list(out), num_returns=1)
                with task_failures_named("writing captions"):
                    captions: Captions = ray.get(done)
                yield out.pop(done), captions
        finally:
            for reference in out:
                ray.cancel(reference)

    return spread


def _write(work: "list[ray.ObjectRef[Any]]") -> Captions:
    """Caption a batch. References in a list are not looked up before this function runs, so it can say how to load."""
    with loading():
        write, batch = ray.get(work)
    return one_by_one(write, batch)
