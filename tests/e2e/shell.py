"""Commands as people type them, and a transcript of what came."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from cluster.objects import Values
from cluster.tools import find
from support.waiting import until

ROOT = Path(__file__).parents[2]
TRANSCRIPTS = Path(os.environ.get("DIPTYCH_E2E_TRANSCRIPTS") or ROOT / ".pytest_cache" / "e2e")
FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class Shell:
    """Bash in the repository's folder. Raises AssertionError with what a command said when it fails."""

    kubeconfig: Path
    transcript: Path

    def __call__(self, command: str, timeout_s: float = 120) -> str:
        """Type a command; return what it printed."""
        code, said = self.attempt(command, timeout_s)
        assert code == 0, f"$ {command}\n{said}"
        return said

    def attempt(self, command: str, timeout_s: float = 120) -> tuple[int, str]:
        """Type a command that may fail; return its exit code and what it printed."""
        began = time.monotonic()
        done = self._run(command, timeout_s)
        with self.transcript.open("a", encoding="utf-8") as file:
            file.write(f"$ {command}\n{done.stdout}[{time.monotonic() - began:.1f} s, exit {done.returncode}]\n\n")
        return done.returncode, done.stdout

    def apply(self, *objects: Values) -> None:
        """Apply objects, as YAML that is typed in."""
        self(f"kubectl apply -f - <<'YAML'\n{yaml.safe_dump_all(objects, sort_keys=False)}YAML")

    def quietly(self, command: str, timeout_s: float = 120) -> str:
        """Return what a command printed that is not of the story: the transcript has nothing of it."""
        done = self._run(command, timeout_s)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout

    def told(self, what: str, path: str) -> str:
        """Return what `kubectl get` says of a field, empty when there is none; not written, as it is asked often."""
        done = self._run(f"kubectl get {what} -o jsonpath='{{{path}}}'", 60)
        is_absent = "not found" in done.stdout or "array index out of bounds" in done.stdout
        assert done.returncode == 0 or is_absent, f"{what} {path}: {done.stdout}"
        return "" if is_absent else done.stdout

    def restarts(self, pods: str) -> dict[str, int]:
        """Return how often the containers of each pod were restarted, by the pod's uid."""
        found = json.loads(self.quietly(f"kubectl get {pods} -o json"))["items"]
        return {
            pod["metadata"]["uid"]: sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))
            for pod in found
        }

    def wait_any(self, what: str, path: str, values: Sequence[str], timeout_s: float = 120) -> None:
        """Wait for one of several values of a field, among them of objects that may not be there yet."""
        until(lambda: any(value in self.told(what, path).split() for value in values), timeout_s, every_s=0.5)

    def wait(self, what: str, path: str, value: str, timeout_s: int = 300) -> None:
        """Wait as people do, for a field of an object that may not be there yet."""
        self(f"kubectl wait {what} --for=create --timeout={timeout_s}s", timeout_s + 30)
        self(f"kubectl wait {what} --for=jsonpath='{{{path}}}'={value} --timeout={timeout_s}s", timeout_s + 30)

    @contextmanager
    def forwarded(self, target: str, *ports: int) -> Iterator[list[int]]:
        """Keep `kubectl port-forward` running; yield the ports of 127.0.0.1 that lead to the ports of the target."""
        command = [str(find("kubectl")), "port-forward", target, *(f":{port}" for port in ports)]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as forwarding:
            try:
                assert forwarding.stdout
                lines = [port for _, port in zip(ports, self._heard(forwarding.stdout), strict=False)]
                assert len(lines) == len(ports), f"no way to {target}"
                yield lines
            finally:
                forwarding.terminate()

    @contextmanager
    def running(self, command: str) -> Iterator[None]:
        """Keep a command running until Ctrl-C; what it says goes into the transcript as it comes."""
        with self.transcript.open("a", encoding="utf-8") as file:
            file.write(f"$ {command}\n")
        with (
            self.transcript.open("a", encoding="utf-8") as file,
            subprocess.Popen(shlex.split(command), cwd=ROOT, env=self.environment, stdout=file, stderr=file) as running,
        ):
            try:
                yield
            finally:
                running.send_signal(signal.SIGINT)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which commands find the cluster, our own `diptych` and the tools."""
        folders = [Path(sys.executable).parent, find("helm").parent, find("kubectl").parent]
        path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
        return os.environ | {"PATH": path, "KUBECONFIG": str(self.kubeconfig), "NO_COLOR": "1"}

    def _run(self, command: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],  # noqa: S607 - as people have it
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    @staticmethod
    def _heard(lines: Iterator[str]) -> Iterator[int]:
        for line in lines:
            if found := FORWARDED.match(line):
                yield int(found[1])
