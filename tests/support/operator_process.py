"""The operator as a process of its own, which tests start, kill, stop for a while and read the log of."""

import json
import os
import signal
import sys
import threading
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self

from cluster.ports import free_port
from cluster.server import Server
from support.waiting import until

START_S = 180
STEADY: dict[str, object] = {"lease_seconds": 120}
"""Where nobody starts an operator again, as Kubernetes would, that lost its Lease on a busy machine."""
KOPFS = "closing of asynchronous generator"
"""What kopf leaves behind when the operator ends over a watch that hangs; told by asyncio, with a traceback."""


class OperatorProcess:
    """`python -m diptych_operator` with a kubeconfig. Settings are those of settings.py."""

    def __init__(self, kubeconfig: Path, folder: Path, name: str = "operator", **settings: object) -> None:
        self.port = free_port()
        self.log = folder / f"{name}.log"
        chosen: dict[str, object] = {"identity": name, "port": self.port, "image": "diptych:test", "gateway_url": ""}
        given = {f"DIPTYCH_{key.upper()}": str(value) for key, value in (chosen | settings).items()}
        environment = {"KUBECONFIG": str(kubeconfig), "PYTHONUNBUFFERED": "1", **given}
        self.server = Server([sys.executable, "-m", "diptych_operator"], self.log, environment)
        self.starts = 0
        self._dying = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def is_running(self) -> bool:
        """Return whether the process runs. Waits for the end of a kill by another thread."""
        with self._dying:
            return self.server.is_running

    def start(self, *, leading: bool = True) -> None:
        """Start it and wait until it is ready; when it is to lead, until it has read everything."""
        known = self.told("synced")
        self.starts += 1
        self.server.start(lambda: self.get("readyz") == HTTPStatus.OK, START_S)
        if leading:
            until(lambda: self.told("synced") > known, START_S)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.server.stop()

    def end(self) -> None:
        """Stop it, whatever state it is in."""
        self.resume()
        self.stop()

    def kill(self) -> None:
        """End it as a crash would; return when it is dead."""
        with self._dying:
            self.server.stop(kill=True)

    def pause(self) -> None:
        """Stop the process in its tracks, as a node under pressure does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a stopped process go on."""
        if self.is_running:
            self._signal(signal.SIGCONT)

    def get(self, path: str) -> int:
        """Return the code of /healthz, /readyz or /metrics; 0 when nobody answers."""
        try:
            return self._asked(path)[0]
        except (OSError, HTTPException):
            return 0

    def metrics(self) -> str:
        """Return what Prometheus would read."""
        return self._asked("metrics", timeout_s=30)[1]

    def lines(self) -> list[dict[str, Any]]:
        """Return the log. A line that is no JSON stands under `event`."""
        if not self.log.exists():
            return []
        return [_line(text) for text in self.log.read_text(encoding="utf-8").splitlines()]

    def told(self, event: str) -> int:
        """Return how often the log has a message."""
        return sum(line.get("event") == event for line in self.lines())

    def complaints(self) -> list[str]:
        """Return what no log of a healthy operator has: tracebacks and failed reconciles."""
        told = [json.dumps(line) for line in self.lines()]
        bad = [line for line in told if "Traceback" in line or "reconcile failed" in line]
        return [line for line in bad if KOPFS not in line]

    def _asked(self, path: str, timeout_s: float = 2) -> tuple[int, str]:
        """Return code and body of an answer. Asked again and again, a client that reads certificates costs seconds."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", f"/{path}")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def _signal(self, number: int) -> None:
        assert self.server.process is not None
        os.kill(self.server.process.pid, number)


def _line(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {"event": text}
    return found if isinstance(found, dict) else {"event": text}
