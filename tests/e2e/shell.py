"""Commands as people type them, and a transcript of what came."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.tools import find

ROOT = Path(__file__).parents[2]
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
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607 - as people have it
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        with self.transcript.open("a", encoding="utf-8") as file:
            file.write(f"$ {command}\n{done.stdout}[{time.monotonic() - began:.1f} s, exit {done.returncode}]\n\n")
        return done.returncode, done.stdout

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

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which commands find the cluster, our own `diptych` and the tools."""
        folders = [Path(sys.executable).parent, find("helm").parent, find("kubectl").parent]
        path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
        return os.environ | {"PATH": path, "KUBECONFIG": str(self.kubeconfig), "NO_COLOR": "1"}

    @staticmethod
    def _heard(lines: Iterator[str]) -> Iterator[int]:
        for line in lines:
            if found := FORWARDED.match(line):
                yield int(found[1])
