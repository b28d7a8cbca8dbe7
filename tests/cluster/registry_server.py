"""A real OCI registry over a folder, which lets one user in, and the client that people pull with."""

import json
import subprocess
from pathlib import Path
from typing import Final

import httpx2

from cluster.ports import free_port
from cluster.server import Server
from cluster.tools import find

USER: Final = "diptych"
PASSWORD: Final = "registry-secret"  # noqa: S105 -- of the test
ACCOUNT: Final = f"{USER}:$2a$04$OsW55lRWZCTe4TcQCD7QWe8WHpbIFdsyDn6ulLmUmqgHn.Tl1Rzy.\n"
"""The line of the password in an htpasswd file."""


class RegistryServer:
    """CNCF Distribution with its data and its log in a folder."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "registry"
        self.host = f"127.0.0.1:{free_port()}"
        accounts, config = folder / "htpasswd", folder / "registry.json"
        accounts.write_text(ACCOUNT)
        settings = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(self.data)}},
            "http": {"addr": self.host},
            "auth": {"htpasswd": {"realm": "tests", "path": str(accounts)}},
        }
        config.write_text(json.dumps(settings))  # which is YAML too
        self.server = Server([find("registry"), "serve", config], folder / "registry.log")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.server.start(self._answers)

    def stop(self) -> None:
        """End the server as a crash would; its data stays."""
        self.server.stop(kill=True)

    def pull(self, reference: str, folder: Path) -> None:
        """Have `oras pull` write the files of a reference into a folder."""
        login = ("--username", USER, "--password", PASSWORD, "--plain-http")
        subprocess.run([find("oras"), "pull", *login, "--output", folder, f"{self.host}/{reference}"], check=True)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"http://{self.host}/v2/").status_code == httpx2.codes.UNAUTHORIZED
        except httpx2.HTTPError:
            return False
