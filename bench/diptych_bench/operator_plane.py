"""A control plane for a benchmark of the operator: etcd and an API server with RBAC, CRDs and an audit log."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cluster.control_plane import ControlPlane
from cluster.objects import reference
from cluster.rest import Refused
from diptych_operator.kinds import Kind

NAMESPACE: Final = "bench"
LOOK_S: Final = 0.5
PATIENCE_S: Final = 900
STEADY: Final = 20
"""Good answers in a row."""


@contextmanager
def started_plane() -> Iterator[ControlPlane]:
    """Yield a control plane with an empty namespace. Kubernetes' own controllers are off: nothing here needs them."""
    with tempfile.TemporaryDirectory(prefix="diptych-bench-") as folder:
        plane = ControlPlane.start(Path(folder))
        try:
            plane.api.create(reference("v1", "Namespace", NAMESPACE))
            plane.controllers.stop()
            yield plane
        finally:
            plane.stop()


def stored(plane: ControlPlane, kind: Kind) -> int:
    """Return how many objects of a kind there are, without reading them."""
    answer = plane.api.request("GET", kind.path(NAMESPACE), limit=1)
    return len(answer["items"]) + int(answer["metadata"].get("remainingItemCount") or 0)


def await_served(plane: ControlPlane, kinds: Sequence[Kind]) -> None:
    """Wait until the API server has read all objects of some kinds: until then it sends clients away.

    After its start it reads the objects of a CRD more than once, so it has to serve them for a while.
    """
    deadline, good = time.monotonic() + PATIENCE_S, 0
    while good < STEADY:
        try:
            for kind in kinds:
                plane.api.request("GET", kind.path(NAMESPACE), resourceVersion="0", labelSelector="nobody=has-this")
            good += 1
        except Refused:
            if time.monotonic() > deadline:
                raise
            good = 0
        time.sleep(LOOK_S)


def await_stored(plane: ControlPlane, kind: Kind, count: int) -> None:
    """Wait until there are as many objects of a kind."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := stored(plane, kind)) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"there are {found} {kind.plural}, not {count}, after {PATIENCE_S} s")
        time.sleep(LOOK_S)
