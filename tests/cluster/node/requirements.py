"""What a node needs of this machine."""

import os
import shutil
import sys

from cluster.node.commands import output
from diptych_api.errors import UnsupportedHere

# Program, and the package of Debian that has it.
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "busybox": "busybox-static",
    "buildah": "buildah",
    "skopeo": "skopeo",
    "mmdebstrap": "mmdebstrap",
}
GIVEN = "Or give the tests a cluster: set KUBECONFIG, DIPTYCH_OPERATOR_IMAGE and DIPTYCH_RAY_IMAGE."


def require() -> None:
    """Install what is missing. Raises UnsupportedHere when that is not possible here, and names it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise UnsupportedHere("a node needs Linux, and root for its namespaces and containers", hint=GIVEN)
    if not (packages := missing()):
        return
    if not shutil.which("apt-get"):
        raise UnsupportedHere(f"a node needs {', '.join(packages)}, which are not installed", hint=GIVEN)
    sys.stderr.write(f"installing {', '.join(packages)} …\n")
    _apt("update")
    _apt("install", "--yes", "--no-install-recommends", *packages)
    if packages := missing():
        raise UnsupportedHere(f"a node needs {', '.join(packages)}, which lack programs after installation", hint=GIVEN)


def missing() -> list[str]:
    """Return the packages whose programs are not here."""
    return [package for program, package in NEEDED.items() if not shutil.which(program)]


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments]
    output(command, hint=GIVEN, environment={"DEBIAN_FRONTEND": "noninteractive"})
