"""kubectl, as people call it."""

import os
import subprocess
from pathlib import Path

from cluster.tools import find


def kubectl(kubeconfig: Path, *arguments: str | Path, stdin: str | None = None) -> str:
    """Return what kubectl prints. Raises CalledProcessError, with what it said in ``stderr``."""
    return subprocess.run(
        [find("kubectl"), *arguments],
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
