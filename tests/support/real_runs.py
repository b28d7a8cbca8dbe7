"""Real runs of the `diptych` command in processes of their own, to be watched, stopped and killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from diptych_api.report import Report
from diptych_training.letters import Row

COMMAND = [str(Path(sys.executable).with_name("diptych")), "run", "job.yaml", "--json"]


@dataclass
class RealRun:
    """A `diptych run` in its own session; its reports are read from its output as they come."""

    process: subprocess.Popen[str]

    def reports(self) -> Iterator[Report]:
        """Yield the reports until the process closes its output."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith('{"') and '"phase"' in line:
                yield Report.model_validate_json(line)

    def until(self, condition: Callable[[Report], bool]) -> Report:
        """Return the first report that meets the condition; fail when the run ends without it."""
        for report in self.reports():
            if condition(report):
                return report
        raise AssertionError(f"the run ended early: {self.process.wait()}")

    def until_trained(self, step: int) -> Report:
        """Return the first report of training in this process that has reached ``step``."""
        return self.until(lambda report: report.loss is not None and report.step >= step)

    def finish(self) -> tuple[int, Report | None]:
        """Read to the end; return exit code and last report."""
        reports = list(self.reports())
        return self.process.wait(), reports[-1] if reports else None

    def pids(self, name: str) -> list[int]:
        """Return the processes of this run's session whose command line holds ``name``."""
        processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        own = [entry for entry in processes if _session(entry) == self.process.pid]
        return sorted(int(entry.name) for entry in own if name in _command_line(entry))

    def kill_all(self) -> None:
        """Kill every process of the session with SIGKILL."""
        for pid in self.pids(""):
            _kill(pid)
        self.process.wait()


@contextmanager
def started(folder: Path) -> Iterator[RealRun]:
    """Start `diptych run job.yaml --json` in ``folder``; nothing of it outlives the body."""
    with (folder / "stderr.txt").open("a") as errors:
        process = subprocess.Popen(
            COMMAND,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    run = RealRun(process)
    try:
        yield run
    finally:
        run.kill_all()
        if process.stdout is not None:
            process.stdout.close()


def write_job(folder: Path, spec: dict[str, Any]) -> None:
    """Write job.yaml."""
    job = {"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": "tiny"}, "spec": spec}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))


def run_folder(folder: Path) -> Path:
    """Return the one run below ``folder``."""
    (found,) = (folder / "runs" / "local").glob("tiny-*")
    return found


def losses(folder: Path) -> dict[tuple[int, str], float]:
    """Return the last word on the loss of every step of the run below ``folder``, by step and kind."""
    lines = (run_folder(folder) / "metrics.jsonl").read_text().splitlines()
    return losses_of(Row(**json.loads(line)) for line in lines)


def losses_of(rows: Iterable[Row]) -> dict[tuple[int, str], float]:
    """Return the last word on the loss of every step, by step and kind."""
    figures = [(row.step, kind, getattr(row, kind)) for row in rows for kind in ("loss", "val_loss")]
    return {(step, kind): value for step, kind, value in figures if value is not None}


def checkpoint_hashes(run: Path) -> dict[str, Any]:
    """Return the hashes of the newest checkpoint's files in a run's folder: weights, average and optimiser."""
    newest = max((run / "checkpoints").iterdir())
    files: dict[str, Any] = json.loads((newest / "complete.json").read_text())["files"]
    return {newest.name: {name: facts["sha256"] for name, facts in files.items()}}


def _session(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
    except (OSError, IndexError):
        return -1


def _command_line(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
