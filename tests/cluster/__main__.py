"""A control plane with KubeRay and Diptych's CRDs for people: ``make cluster``."""

import signal
import sys
import tempfile
from pathlib import Path

from cluster.control_plane import ControlPlane
from cluster.kuberay import KubeRay


def main() -> None:
    """Start a control plane, say how to reach it, and stay until Ctrl-C."""
    folder = Path(tempfile.mkdtemp(prefix="diptych-cluster-"))
    sys.stderr.write("starting a control plane; the first time it is built, which takes ten minutes\n")
    with ControlPlane.start(folder) as plane:
        kuberay = KubeRay(plane, [""])
        kuberay.start()
        sys.stdout.write(f"export KUBECONFIG={plane.admin_kubeconfig}\n")
        sys.stdout.flush()
        sys.stderr.write(f"KubeRay and Diptych's CRDs are there; there are no nodes. Logs: {folder / 'logs'}\n")
        sys.stderr.write("Ctrl-C ends it\n")
        signal.sigwait([signal.SIGINT, signal.SIGTERM])
        kuberay.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [])
    main()
