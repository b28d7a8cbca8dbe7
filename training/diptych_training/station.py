"""Who trains in this pod, and the wish that they stop: files in a folder of the pod.

The preStop hook of every pod runs `python -m diptych_training --stop`. It leaves the wish, and returns when those who
train here have saved and gone, so that Kubernetes ends the pod no sooner.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from diptych_training.letters import Progress, Tell

VARIABLE: Final = "DIPTYCH_STATION"
"""Environment variable with the folder; the same in all processes of a pod. Without it nobody listens."""
WISH: Final = "stop"
POLL_S: Final = 0.2
BEGIN_FIELD: Final = 19
"""Of /proc/PID/stat, counted from the one after the command's name."""
RAY: Final = b"ray start"
Role = Literal["driver", "worker"]


@dataclass(frozen=True, slots=True)
class Station:
    """The folder in which the processes of a pod leave their ids."""

    folder: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self | None:
        """Return the station that the environment names, if it does."""
        folder = environ.get(VARIABLE)
        return cls(Path(folder)) if folder else None

    @contextlib.contextmanager
    def manned(self, role: Role) -> Iterator[None]:
        """Say that this process trains here while the body runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mark = self.folder / f"{role}-{os.getpid()}"
        mark.write_text(_begin(os.getpid()))
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)

    def present(self) -> dict[int, str]:
        """Return the processes that train here, with their roles; marks that killed ones left count no more.

        The folder outlives the container: started anew, another process may have the number of one that was killed.
        """
        found = {}
        for mark in self.folder.glob("*-*"):
            role, _, pid = mark.name.partition("-")
            with contextlib.suppress(FileNotFoundError):
                if pid.isdecimal() and mark.read_text() in ("", _begin(int(pid))) and Path(f"/proc/{pid}").exists():
                    found[int(pid)] = role
        return found

    def ask(self) -> None:
        """Leave the wish to stop: a file for workers, SIGTERM for the driver."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / WISH).touch()
        for pid, role in self.present().items():
            if role == "driver":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

    def is_asked(self) -> bool:
        """Whether somebody left the wish to stop."""
        return (self.folder / WISH).exists()

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until nobody trains here; return whether that came true in time."""
        deadline = time.monotonic() + timeout_s
        while self.present():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def wait_until_heard(timeout_s: float, pid: int = 1) -> bool:
    """Wait until Ray, a pod's first process, listens to SIGTERM; return whether that came true in time.

    Linux drops what a first process does not listen to: asked while it starts, Ray would stay for the whole grace.
    """
    deadline = time.monotonic() + timeout_s
    while _is_deaf_ray(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _is_deaf_ray(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return RAY in command and bool(caught) and not int(caught[0], 16) >> (signal.SIGTERM - 1) & 1


def _begin(pid: int) -> str:
    """Return when a process began, in ticks of the kernel; empty when it is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[BEGIN_FIELD]
    except (FileNotFoundError, ProcessLookupError):
        return ""


@contextlib.contextmanager
def heeding(tell: Tell, environ: Mapping[str, str]) -> Iterator[Tell]:
    """Yield ``tell`` as a worker uses it here: in a pod, it hears the wish to stop that was left there too."""
    station = Station.of(environ)
    if station is None:
        yield tell
        return
    with station.manned("worker"):

        def told(progress: Progress) -> bool:
            return tell(progress) or station.is_asked()

        yield told
