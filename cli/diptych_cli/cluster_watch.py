"""Objects of a cluster as they change, over broken connections and restarts of the API server."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Final

from diptych_api.errors import RetryLater
from diptych_cli.cluster import Cluster
from diptych_operator.kinds import Kind, Manifest

WATCH_S: Final = 240
PAUSE_S: Final = 1.0
PATIENCE_S: Final = 60.0
"""How long an API server that had answered may be away before following ends."""
GONE: Final = "DELETED"
CHANGED: Final = frozenset({"ADDED", "MODIFIED"})


def changes(
    cluster: Cluster, kind: Kind, name: str, deadline: float | None = None, *, heard: float | None = None
) -> Iterator[Manifest | None]:
    """Yield an object as it is and whenever it changes, None when it is not there; end at a moment of the clock.

    `heard` is when the API server answered something else, if it did.

    Raises:
        RetryLater: when the API server does not answer at first, or stays away later.

    """
    only = {"fieldSelector": f"metadata.name={name}"}
    while True:
        try:
            listed = cluster.list(kind, only)
            heard = time.monotonic()
            yield next(iter(listed["items"]), None)
            version, seconds = listed["metadata"]["resourceVersion"], _left(deadline)
            if seconds > 0:
                yield from _events(cluster, kind, version, seconds, only)
        except RetryLater:
            if heard is None or time.monotonic() - heard > PATIENCE_S:
                raise
            time.sleep(PAUSE_S)
        if _left(deadline) <= 0:
            return


def _events(
    cluster: Cluster, kind: Kind, version: str, seconds: int, only: Mapping[str, str]
) -> Iterator[Manifest | None]:
    """Yield what a watch tells. It ends with its time, with the connection, or when the version is too old."""
    for event in cluster.watch(kind, version, seconds, only):
        if event["type"] in CHANGED:
            yield event["object"]
        elif event["type"] == GONE:
            yield None
        else:
            return


def _left(deadline: float | None) -> int:
    """Return the seconds that a watch may take, at least one where there is time left."""
    if deadline is None:
        return WATCH_S
    left = deadline - time.monotonic()
    return 0 if left <= 0 else min(WATCH_S, int(left) + 1)


def together(streams: Mapping[str, Iterator[Manifest | None]]) -> Iterator[tuple[str, Manifest | None]]:
    """Yield the objects of several streams with the streams' names, as they come. Raises what a stream raises."""
    arrived: queue.SimpleQueue[tuple[str, Manifest | None] | Exception] = queue.SimpleQueue()

    def listen(name: str, stream: Iterator[Manifest | None]) -> None:
        try:
            for found in stream:
                arrived.put((name, found))
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that listens to all
            arrived.put(error)

    for name, stream in streams.items():
        threading.Thread(target=listen, args=(name, stream), daemon=True).start()
    while True:
        found = arrived.get()
        if isinstance(found, Exception):
            raise found
        yield found
