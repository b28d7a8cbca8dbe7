"""Programs that run in the background, each with its log in a file."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diptych_api.errors import RunFailed

# Linux sends the parent's death signal when the thread that started the child ends: so one thread, which never does.
STARTER = ThreadPoolExecutor(1, "server-starter")
PATIENCE_S = 20
TAIL_LINES = 30


class Server:
    """A program with a place for its log. It ends with this process, however this process ends."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.command = [str(part) for part in command]
        self.name = log.stem
        self.log = log
        self.environment = os.environ | dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Return whether the program runs."""
        return self.process is not None and self.process.poll() is None

    def start(self, is_ready: Callable[[], bool], timeout_s: float = 300) -> None:
        """Start the program and wait until it is ready. Raises RunFailed with the end of its log."""
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []  # an asked API server may stay
        with self.log.open("ab") as log:
            self.process = STARTER.submit(
                subprocess.Popen,
                [*guard, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is for us; we stop it in our order
            ).result()
        try:
            wait_for(is_ready, [self], timeout_s)
        except RunFailed:
            self.stop()
            raise

    def stop(self, *, kill: bool = False, patience_s: float = PATIENCE_S) -> None:
        """End the program: asked first and then made to, or at once as a crash would."""
        if (process := self.process) is None:
            return
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.process = None

    def tail(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])


def wait_for(is_ready: Callable[[], bool], servers: Sequence[Server], timeout_s: float) -> None:
    """Wait until what some programs do together is ready. Raises RunFailed with the log of who ended or is last."""
    deadline = time.monotonic() + timeout_s
    while not is_ready():
        ended = next((server for server in servers if not server.is_running), None)
        if ended or time.monotonic() > deadline:
            told, state = (ended, "ended") if ended else (servers[-1], f"was not ready in {timeout_s:g} s")
            raise RunFailed(f"{told.name} {state}. Its log, {told.log}, ends with:\n{told.tail()}")
        time.sleep(0.1)
