"""Images of single programs, which the node itself needs: no download, no build."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.node import oci
from cluster.tools import find

BUSYBOX = "localhost/diptych/busybox:dev"
COREDNS = "localhost/diptych/coredns:dev"
KUBERAY = "localhost/diptych/kuberay-operator:dev"
VERSITYGW = "localhost/diptych/versitygw:dev"
NOBODY = "65532:65532"


def program_images() -> Sequence[oci.Image]:
    """Return the images of busybox, which also plays the part of pause, of CoreDNS and of KubeRay."""
    return (
        busybox(),
        oci.from_scratch(COREDNS, {"coredns": find("coredns")}, run=["/coredns"]),
        oci.from_scratch(KUBERAY, {"manager": find("ray-operator")}, run=["/manager"], user=NOBODY),
    )


def versitygw() -> oci.Image:
    """Return the image of an S3 server."""
    return oci.from_scratch(VERSITYGW, {"bin/versitygw": find("versitygw")}, run=["/bin/versitygw"], user=NOBODY)


def busybox() -> oci.Image:
    """Return an image of Debian's static busybox, which waits unless a pod says what to run."""
    program = Path(shutil.which("busybox") or "busybox")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = {f"bin/{name}": "busybox" for name in names if name != "busybox"}
    return oci.from_scratch(BUSYBOX, {"bin/busybox": program, **links}, run=["/bin/tail", "-f", "/dev/null"])
