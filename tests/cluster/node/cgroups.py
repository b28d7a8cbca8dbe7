"""The control groups that a kubelet makes and that stay, empty, when its pods are killed."""

import contextlib
from pathlib import Path

from diptych_api.errors import UnsupportedHere
from support.waiting import until

ROOT = Path("/sys/fs/cgroup")
PODS = "kubepods"
PATIENCE_S = 10  # who was killed may take a moment to be gone


def clear() -> None:
    """Remove the groups of a node that is gone. Raises UnsupportedHere when another kubelet's pods use them."""
    for top in (*ROOT.glob(PODS), *ROOT.glob(f"*/{PODS}")):
        if top.parent.is_symlink():
            continue
        for group in sorted((top, *(each for each in top.rglob("*") if each.is_dir())), reverse=True):
            _remove(group)


def _remove(group: Path) -> None:
    try:
        until(lambda: _removed(group), PATIENCE_S)
    except AssertionError as error:
        raise UnsupportedHere(
            f"{group} has processes: this machine is a node of a cluster already",
            hint="Give the tests that cluster: set KUBECONFIG and the image references.",
        ) from error


def _removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
