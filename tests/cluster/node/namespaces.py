"""Linux namespaces for a node: network, processes and mounts of its own, which the kernel takes down together."""

import contextlib
import os
import signal
from pathlib import Path

from cluster.node.commands import output
from cluster.server import Server
from support.waiting import until

# The first process reaps what is left to it, by ignoring its children's ends.
SETTLE = """
mount -t tmpfs tmpfs /run
mkdir -p "$0/var-log" /var/lib/cni /run/cni
mount --bind "$0/var-log" /var/log
mount --bind /run/cni /var/lib/cni
exec env --ignore-signal=CHLD sleep infinity
"""
GONE_S = 20
UNSHARED = ("--fork", "--kill-child", "--pid", "--mount-proc", "--mount", "--propagation=private", "--net")


class Namespaces:
    """Where the processes of a node run.

    When the first of them ends, the kernel kills all others, undoes the mounts and takes the network away. It ends
    with this process, so nothing is left of a node, however this process ends.
    """

    def __init__(self, folder: Path) -> None:
        command = ["unshare", *UNSHARED, "sh", "-ec", SETTLE, str(folder)]
        self.server = Server(command, folder / "logs" / "namespaces.log")
        self.first_process = 0

    def start(self) -> None:
        """Make them and wait until they are settled."""
        self.server.start(self._is_settled)

    def stop(self) -> None:
        """End every process in them, at once, and wait until they are gone."""
        if self.server.is_running and self.first_process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.first_process, signal.SIGKILL)
            until(lambda: not self.server.is_running, GONE_S)  # which is when the last one is gone
        self.server.stop(kill=True)

    def inside(self, *command: str | Path) -> list[str]:
        """Return a command that runs another one in the namespaces."""
        return ["nsenter", f"--target={self.first_process}", "--mount", "--net", "--pid", "--", *map(str, command)]

    def run(self, *command: str | Path) -> str:
        """Run a command in the namespaces and return what it prints. Raises RunFailed with what it said."""
        return output(self.inside(*command))

    def _is_settled(self) -> bool:
        if (process := self.server.process) is None:
            return False
        with contextlib.suppress(OSError):  # it may have ended meanwhile, which its log explains
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
            if children and Path(f"/proc/{children[0]}/comm").read_text(encoding="utf-8").strip() == "sleep":
                self.first_process = int(children[0])
        return self.first_process > 0
