"""A real node with KubeRay and Diptych's CRDs for people: ``make node``.

``python -m cluster.node REFERENCE...`` brings images of buildah's into it.
"""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cluster.node.node import running_node
from cluster.node.requirements import require
from cluster.node.single import images_of_running_node
from diptych_api.errors import DiptychError


def main() -> None:
    """Run a node, or bring images into the one that runs."""
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, signal.default_int_handler)
    try:
        if references := sys.argv[1:]:
            load(references)
        else:
            run()
    except DiptychError as error:
        tell(str(error))
        sys.exit(error.exit_code)


def run() -> None:
    """Start a node, say how to reach it, and stay until Ctrl-C."""
    require()
    folder = Path(tempfile.mkdtemp(prefix="diptych-node-"))
    tell(f"starting Kubernetes with a node of its own, and KubeRay; logs and volumes: {folder}")
    with contextlib.suppress(KeyboardInterrupt), running_node(folder, tell) as node:
        sys.stdout.write(f"export KUBECONFIG={node.plane.admin_kubeconfig}\n")
        sys.stdout.flush()
        tell("Paste this line into another terminal. Ctrl-C ends it all.")
        while True:
            signal.pause()


def load(references: Sequence[str]) -> None:
    """Bring images that buildah has into the running node."""
    images = images_of_running_node()
    for reference in references:
        images.load(reference)
        tell(f"the node has {reference}")


def tell(text: str) -> None:
    """Say something to the person, beside what a shell may read."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
