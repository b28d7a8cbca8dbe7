"""A control plane with KubeRay for people: ``make cluster``. Diptych comes by its chart, as everywhere."""

import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from cluster.control_plane import ControlPlane
from cluster.kuberay import KubeRay

EVERYWHERE = [""]
NEXT = """Paste this line into another terminal. There are no nodes: pods stay Pending. Then install Diptych, and run
its operator here, since its pod is one of those that stay Pending:

    helm install diptych charts/diptych -n diptych-system --create-namespace
    uv run --no-sync python -m diptych_operator

Ctrl-C ends it all."""


def main() -> None:
    """Start a control plane, say how to reach it, and stay until Ctrl-C."""
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="diptych-cluster-"))
    tell(f"starting etcd, kube-apiserver, its controllers and KubeRay; their logs: {folder / 'logs'}")
    with contextlib.suppress(KeyboardInterrupt), ControlPlane.start(folder, own_crds=False) as plane:
        kuberay = KubeRay(plane, EVERYWHERE)
        try:
            kuberay.start()
            sys.stdout.write(f"export KUBECONFIG={plane.admin_kubeconfig}\n")
            sys.stdout.flush()
            tell(NEXT)
            while True:
                signal.pause()
        finally:
            kuberay.stop()


def tell(text: str) -> None:
    """Say something to the person, beside what a shell may read."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
