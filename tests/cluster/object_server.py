"""A real S3 server over a folder: buckets are folders, objects are files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2

from cluster.ports import free_port
from cluster.server import Server
from cluster.tools import find

KEYS: Final = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
HEALTH: Final = "/health"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and the folder with its objects."""

    name: str
    folder: Path

    @property
    def uri(self) -> str:
        """Return what stands in a spec."""
        return f"s3://{self.name}"


class ObjectServer:
    """versitygw with its data and its log in a folder."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        self.environment = KEYS | {"AWS_ENDPOINT_URL": self.url}
        account = ("--access", KEYS["AWS_ACCESS_KEY_ID"], "--secret", KEYS["AWS_SECRET_ACCESS_KEY"])
        address = ("--port", self.url.removeprefix("http://"), "--health", HEALTH, "--quiet")
        self.server = Server([find("versitygw"), *account, *address, "posix", self.data], folder / "versitygw.log")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.server.start(self._answers)

    def stop(self) -> None:
        """End the server; its data stays."""
        self.server.stop(kill=True)

    def bucket(self, name: str) -> Bucket:
        """Make a bucket."""
        (self.data / name).mkdir()
        return Bucket(name, self.data / name)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}{HEALTH}").is_success
        except httpx2.HTTPError:
            return False
