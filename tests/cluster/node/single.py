"""One node for a machine: a lock, and a word to others about where it is."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cluster.node.image_store import ImageStore
from cluster.node.namespaces import Namespaces
from cluster.tools import cache_folder
from diptych_api.errors import UnsupportedHere


def state_folder() -> Path:
    """Return the folder of what outlives a node: the images."""
    folder = cache_folder() / "node"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def the_only_one() -> Iterator[Callable[[Namespaces], None]]:
    """Be the one whose node runs on this machine. Yields what tells others of its namespaces."""
    with (state_folder() / "running").open("a+", encoding="ascii") as file:
        if not _lock(file):
            raise UnsupportedHere(
                "a node runs on this machine already, and there is room for one",
                hint="End the other `make node` or end-to-end run first.",
            )
        file.truncate(0)

        def tell(namespaces: Namespaces) -> None:
            file.write(str(namespaces.first_process))
            file.flush()

        yield tell


def images_of_running_node() -> ImageStore:
    """Return the images of the node that another process runs."""
    with (state_folder() / "running").open("a+", encoding="ascii") as file:
        file.seek(0)
        if _lock(file) or not (process := file.read()):
            raise UnsupportedHere("no node runs on this machine", hint="Start one: `make node`.")
    namespaces = Namespaces(state_folder())
    namespaces.first_process = int(process)
    return ImageStore(namespaces, state_folder())


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
