"""The operator as a process of its own, and what it costs."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import psutil
from prometheus_client.parser import text_string_to_metric_families

from cluster.apiserver import ADMINISTRATORS
from cluster.control_plane import ControlPlane
from cluster.kubeconfig import write_kubeconfig
from cluster.ports import free_port
from cluster.server import Server
from diptych_bench.operator_plane import NAMESPACE

USER: Final = "diptych-operator"
MEBIBYTE: Final = 2**20
KIBIBYTE: Final = 2**10
LOOK_S: Final = 0.2


class OperatorProcess:
    """A running operator."""

    def __init__(self, plane: ControlPlane) -> None:
        user = plane.authority.issue(USER, groups=[ADMINISTRATORS])
        config = plane.folder / "kubeconfigs" / "operator.yaml"
        self.port = free_port()
        self.log = plane.folder / "logs" / "operator.log"
        environment = {
            "KUBECONFIG": str(write_kubeconfig(config, plane.url, plane.authority.certificate, user)),
            "DIPTYCH_PORT": str(self.port),
            "DIPTYCH_LOG_FORMAT": "json",
            "DIPTYCH_LEASE_NAMESPACE": NAMESPACE,
        }
        self.server = Server([sys.executable, "-m", "diptych_operator"], self.log, environment)
        self.web = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=300, trust_env=False)

    def start(self) -> None:
        """Start it and wait until it has read what is there."""
        self.log.unlink(missing_ok=True)
        self.server.start(lambda: bool(self.said("synced")), timeout_s=300)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.server.stop()

    def said(self, message: str) -> list[dict[str, Any]]:
        """Return the lines of its log with this message."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if f'"{message}"' in line]

    def figures(self) -> dict[str, float]:
        """Return what it tells Prometheus, summed over labels."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self.web.get("/metrics").text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0) + sample.value
        return found

    @property
    def process(self) -> psutil.Process:
        """Return the process."""
        if self.server.process is None:
            raise RuntimeError("the operator does not run")
        return psutil.Process(self.server.process.pid)

    def cpu_s(self) -> float:
        """Return the seconds of CPU since its start."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident_mib(self) -> float:
        """Return the memory that it holds."""
        return float(round(self.process.memory_info().rss / MEBIBYTE, 1))

    def peak_mib(self) -> float:
        """Return the most memory that it ever held."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        kibibytes = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        return round(int(kibibytes) * KIBIBYTE / MEBIBYTE, 1)

    def settle(self, quiet_s: float = 1.0, least: int = 0) -> float:
        """Wait until it has done `least` reconciles and then none for a while; return when the last was seen."""
        done, since = -1.0, time.monotonic()
        while True:
            figures = self.figures()
            now = figures.get("diptych_reconcile_seconds_count", 0.0)
            if now != done or now < least or figures.get("diptych_queue_depth", 0):
                done, since = now, time.monotonic()
            elif time.monotonic() - since >= quiet_s:
                return since
            time.sleep(LOOK_S)


@contextmanager
def started_operator(
    plane: ControlPlane, see: Callable[[OperatorProcess], None] = lambda _: None
) -> Iterator[OperatorProcess]:
    """Yield an operator that has read what is there; `see` gets it before it starts."""
    operator = OperatorProcess(plane)
    see(operator)
    try:
        operator.start()
        yield operator
    except Exception:
        sys.stderr.write(f"The operator's log ends with:\n{operator.server.tail()}\n")
        raise
    finally:
        operator.stop()
        operator.web.close()
