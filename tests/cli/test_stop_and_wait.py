"""`diptych cancel`, `suspend`, `resume` and `wait` for runs of this machine: real processes, real locks."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diptych_api.report import Failure
from diptych_training.run_store import RunStore
from support.recorded_run import diptych, recorded, report

pytestmark = pytest.mark.slow

WORKER = """\
import signal, sys
from fsspec.implementations.local import LocalFileSystem
from diptych_training.run_store import RunStore
from support.recorded_run import recorded, report

store = RunStore(LocalFileSystem(), sys.argv[1])

def stop(*_):
    store.write_json("status.json", report("Suspended", step=214))
    sys.exit(130)

signal.signal(signal.SIGTERM, stop)
with store.lock():
    print("works", flush=True)
    sys.stdin.readline()
    store.write_json("status.json", list(recorded())[-1])
"""


@contextmanager
def at_work(store: RunStore) -> Iterator["subprocess.Popen[str]"]:
    """Start a process that has the run, as `diptych run` has it, until it is asked to stop or told to end."""
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    command = [sys.executable, "-c", path + WORKER, store.root, "diptych run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "works\n"
        yield process


@pytest.mark.parametrize("command", ["cancel", "suspend"])
def test_the_process_that_works_on_a_run_is_asked_and_waited_for(begun: RunStore, command: str) -> None:
    with at_work(begun) as process:
        ended = diptych(command, "job.yaml")
        assert process.wait(timeout=60) == 130
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[0] == f"asked process {process.pid}: it saves a checkpoint first …"
    assert ended.stdout.splitlines()[1].startswith("✓ Suspended")


def test_a_run_that_nobody_works_on_cannot_be_cancelled(begun: RunStore) -> None:
    begun.write_bytes(".lock", b"1\n")
    ended = diptych("cancel", "job.yaml")
    assert ended.exit_code == 2
    assert "No process of this machine works on" in ended.stderr


def test_waiting_ends_when_the_run_does(begun: RunStore) -> None:
    command = [str(Path(sys.executable).with_name("diptych")), "wait", "job.yaml", "--timeout", "60s"]
    with at_work(begun) as process, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        assert process.stdin is not None
        process.stdin.close()
        told, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, told) == (0, f"✓ {begun.name} has succeeded.\n")


def test_waiting_for_what_failed_tells_why(begun: RunStore) -> None:
    failure = Failure(reason="NaNLoss", message="The loss became nan.", hint="Lower the rate.")
    begun.write_json("status.json", report("Failed", failure=failure))
    ended = diptych("wait", "job.yaml")
    assert ended.exit_code == 1
    assert "NaNLoss: The loss became nan." in ended.stderr
    assert "Lower the rate." in ended.stderr


def test_waiting_has_an_end(begun: RunStore) -> None:
    with at_work(begun):
        ended = diptych("wait", "job.yaml", "--timeout", "0s")
    assert ended.exit_code == 75
    assert "has not succeeded after 0 s" in ended.stderr


def test_what_has_succeeded_needs_no_waiting(begun: RunStore) -> None:
    begun.write_json("status.json", list(recorded())[-1])
    assert diptych("wait", f"runs/local/{begun.name}").exit_code == 0


def test_only_a_yaml_can_be_resumed_here(begun: RunStore) -> None:
    ended = diptych("resume", f"runs/local/{begun.name}")
    assert ended.exit_code == 2
    assert "diptych resume JOB.yaml" in ended.stderr


def test_ready_is_for_clusters(begun: RunStore) -> None:
    ended = diptych("wait", "job.yaml", "--for", "ready")
    assert ended.exit_code == 2
