"""What a node leaves behind: nothing, though the process that started it is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.node.requirements import require
from support.waiting import until

pytestmark = pytest.mark.e2e
PATHS = os.pathsep.join(path for path in sys.path if path)
STARTER = """
import pathlib, signal, subprocess, sys
from cluster.node.namespaces import Namespaces
namespaces = Namespaces(pathlib.Path(sys.argv[1]))
namespaces.start()
subprocess.Popen(namespaces.inside("sh", "-c", "mount -t tmpfs tmpfs /mnt; sleep 1000 & exec sleep 1000"))
print(namespaces.first_process, flush=True)
signal.pause()
"""


def test_a_killed_starter_takes_all_processes_and_mounts_with_it(tmp_path: Path) -> None:
    require()
    (tmp_path / "logs").mkdir()
    command, environment = [sys.executable, "-c", STARTER, str(tmp_path)], os.environ | {"PYTHONPATH": PATHS}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as starter:
        try:
            assert starter.stdout
            first = int(starter.stdout.readline())
            until(lambda: len(_inside(first)) >= 3)
            inside = _inside(first)
        finally:
            starter.kill()
    until(lambda: not any(process.exists() for process in inside))
    assert "/mnt" not in Path("/proc/self/mounts").read_text(encoding="utf-8").split()


def _inside(first: int) -> list[Path]:
    """Return the processes in the same mounts as the first one of a node."""
    mounts = Path(f"/proc/{first}/ns/mnt").readlink()
    return [process for process in Path("/proc").glob("[0-9]*") if _mounts(process) == mounts]


def _mounts(process: Path) -> Path | None:
    try:
        return (process / "ns" / "mnt").readlink()
    except OSError:
        return None
