"""How the programs of a cluster are built, kept, started and ended."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.server import Server
from cluster.tools import cache_folder, find
from diptych_api.errors import RunFailed, UnsupportedHere
from support.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache, beside a PATH that has no Go."""
    monkeypatch.setenv("DIPTYCH_CLUSTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "cache"


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_without_go_it_is_said_what_to_install(cache: Path) -> None:
    with pytest.raises(UnsupportedHere, match="not on PATH") as error:
        find("etcd")
    assert "go.dev/dl" in error.value.hint
    assert [path.name for path in cache.iterdir()] == ["etcd.lock"]


def test_a_failed_build_shows_what_go_said_and_leaves_nothing_half_done(cache: Path) -> None:
    install(cache.parent, "go", "echo 'no required module' >&2; exit 1")
    with pytest.raises(RunFailed, match="no required module"):
        find("etcd")
    assert [path.name for path in cache.iterdir()] == ["etcd.lock"]


def test_a_program_is_built_once(cache: Path) -> None:
    say = 'echo built >> "$(dirname "$0")/builds"; while [ "$1" != -o ]; do shift; done; echo program > "$2"'
    install(cache.parent, "go", f"PATH=/usr/bin:/bin; {say}")
    assert find("etcd") == find("etcd")
    assert find("etcd").is_relative_to(cache_folder())
    assert (cache.parent / "builds").read_text() == "built\n"


def test_kubectl_is_taken_from_the_path_when_there_is_one(cache: Path) -> None:
    install(cache.parent, "kubectl", "exit 0")
    assert find("kubectl") == cache.parent / "kubectl"


def test_a_program_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = Server([shutil.which("sh") or "sh", "-c", "echo unknown flag: --colour; exit 1"], tmp_path / "etcd.log")
    with pytest.raises(RunFailed, match=r"(?s)etcd ended\..*unknown flag: --colour"):
        server.start(lambda: False)


def test_a_program_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    server = Server([shutil.which("sleep") or "sleep", "60"], tmp_path / "etcd.log")
    with pytest.raises(RunFailed, match=r"etcd was not ready in 0\.2 s"):
        server.start(lambda: False, timeout_s=0.2)
    assert not server.is_running


def test_a_program_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import pathlib, sys\nfrom cluster.server import Server\n"
        "server = Server(['sleep', '60'], pathlib.Path(sys.argv[1]) / 'log')\n"
        "runs = lambda: pathlib.Path(f'/proc/{server.process.pid}/comm').read_text() == 'sleep\\n'\n"
        "server.start(runs)\nprint(server.process.pid, flush=True)\nsys.stdin.read()\n"
    )
    paths = os.pathsep.join(sys.path)
    command = [sys.executable, str(starter), str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    ) as process:
        assert process.stdout is not None
        started = Path("/proc") / process.stdout.readline().strip()
        assert _runs(started)
        process.kill()
    until(lambda: not _runs(started))


def _runs(process: Path) -> bool:
    """Return whether a process has not ended, even if nobody has asked yet how."""
    try:
        return "State:\tZ" not in (process / "status").read_text()
    except FileNotFoundError:
        return False
