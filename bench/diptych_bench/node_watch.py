"""What the API server tells of a namespace, with the moment at which it does."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubernetes import config, dynamic
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from diptych_bench.node_milestones import Sight
from diptych_operator.kinds import (
    DIFFUSION_DEPLOYMENT,
    FINE_TUNE_JOB,
    FINE_TUNE_REPORT,
    POD,
    RAY_JOB,
    RAY_SERVICE,
    Kind,
)

RAY_CLUSTER: Final = Kind("ray.io", "v1", "rayclusters", "RayCluster")
OF_RAY_JOBS: Final = (RAY_JOB, RAY_CLUSTER, POD)
OF_JOBS: Final = (FINE_TUNE_JOB, FINE_TUNE_REPORT, *OF_RAY_JOBS)
OF_DEPLOYMENTS: Final = (DIFFUSION_DEPLOYMENT, RAY_SERVICE, RAY_CLUSTER, POD)


@dataclass
class Watch:
    """Objects as they were told, one after the other."""

    sights: list[Sight] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def take(self, sight: Sight) -> None:
        """Add what was told."""
        with self._news:
            self.sights.append(sight)
            self._news.notify_all()

    def wait(self, holds: Callable[[Sight], bool], timeout_s: float) -> Sight:
        """Return the first of which something holds, told before or after. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: any(map(holds, self.sights)), timeout_s):
                last = "\n".join(f"{sight.thing['kind']} {sight.thing.get('status')}" for sight in self.sights[-4:])
                raise TimeoutError(f"it did not come in {timeout_s:g} s; what was told last:\n{last}")
            return next(filter(holds, self.sights))


@contextmanager
def watched_namespace(kubeconfig: Path, namespace: str, kinds: Sequence[Kind]) -> Iterator[Watch]:
    """Yield what is told of a namespace for the time of the body."""
    watch, over = Watch(), threading.Event()
    client = dynamic.DynamicClient(config.new_client_from_config(str(kubeconfig)))
    threads = [
        threading.Thread(target=_follow, args=[client, kind, namespace, watch, over], daemon=True) for kind in kinds
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        over.set()


def _follow(client: dynamic.DynamicClient, kind: Kind, namespace: str, watch: Watch, over: threading.Event) -> None:
    resource = client.resources.get(api_version=kind.api_version, kind=kind.kind)
    while not over.is_set():
        try:
            for event in resource.watch(namespace=namespace, timeout=600):
                if over.is_set():
                    return
                watch.take(Sight(time.monotonic(), event["raw_object"]))
        except (HTTPError, ApiException):  # a stream that was cut: the next one begins with all there is
            over.wait(1)
