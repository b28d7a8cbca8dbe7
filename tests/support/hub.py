"""A hub on this machine: the list of a commit's files and the files, as the real client asks for them."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Final
from urllib.parse import unquote

import pytest
from huggingface_hub import file_download
from huggingface_hub.utils import _http

from support.answering import QuietHandler, answering

COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
REPO: Final = "owner/name"


@dataclass
class Hub:
    """One repository, its files in a folder, and what goes wrong."""

    folder: Path
    kind: str = "models"
    reader: str | None = None
    """The token that readers have; who does not say it is refused with 401."""
    refusal: int | None = None
    """Status of every answer."""
    cuts: list[str] = field(default_factory=list)
    """Files of which one transfer ends in the middle."""
    dies: bool = False
    """After a transfer that was cut, nothing but 500 comes."""
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """Method and path of each request."""
    ranges: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Return the repository's files."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def file(self, path: str) -> Path | None:
        """Return the file that a path of the server means."""
        prefix = "" if self.kind == "models" else f"/{self.kind}"
        name = unquote(path.removeprefix(f"{prefix}/{REPO}/resolve/{COMMIT}/"))
        return self.folder / name if name in self.names else None

    def listing(self, below: str = "") -> bytes:
        """Return the list of the commit's files, of those below a folder where one is named."""
        names = [name for name in self.names if name.startswith(below)]
        found = [(name, (self.folder / name).read_bytes()) for name in names]
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}  # noqa: S324 -- git's
            for name, data in found
        ]
        return json.dumps(entries).encode()


def impatient(patch: pytest.MonkeyPatch) -> None:
    """Have the hub's client try again at once, where it would wait longer and longer."""
    for module in (_http, file_download):
        patch.setattr(module, "time", SimpleNamespace(sleep=lambda _: None))


@contextmanager
def hub_of(folder: Path, kind: str = "models") -> Iterator[Hub]:
    """Serve a repository; its kind is models or datasets."""
    hub = Hub(folder, kind)
    with answering(type("Handler", (_Handler,), {"hub": hub})) as port:
        hub.url = f"http://127.0.0.1:{port}"
        yield hub


class _Handler(QuietHandler, BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def do_GET(self) -> None:
        """Answer with a body, whole or cut."""
        body, file = self._answer(), self.hub.file(self.path.partition("?")[0])
        name = file.relative_to(self.hub.folder).as_posix() if file else ""
        if name in self.hub.cuts and body:
            self.hub.cuts.remove(name)
            body = body[: len(body) // 2]
            self.hub.refusal = 500 if self.hub.dies else None
        self.wfile.write(body)

    def _answer(self) -> bytes:
        """Send status and headers, and return the body."""
        path = self.path.partition("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        status, body, etag = self._found(path)
        start = 0
        if status == 200 and (wanted := self.headers["Range"]):
            self.hub.ranges.append(wanted)
            status, start = 206, int(wanted.removeprefix("bytes=").partition("-")[0])
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if status == 429:
            self.send_header("Retry-After", "0")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        return body[start:]

    def _found(self, path: str) -> tuple[int, bytes, str]:
        if self.hub.refusal:
            return self.hub.refusal, b"", ""
        if self.hub.reader and self.headers["Authorization"] != f"Bearer {self.hub.reader}":
            return 401, b"", ""
        about = f"/api/{self.hub.kind}/{REPO}"
        if path == f"{about}/revision/{COMMIT}":
            return 200, json.dumps({"id": REPO, "sha": COMMIT}).encode(), "revision"
        if path.startswith(f"{about}/tree/{COMMIT}"):
            below = unquote(path.removeprefix(f"{about}/tree/{COMMIT}")).lstrip("/")
            return 200, self.hub.listing(below), "list"
        if (file := self.hub.file(path)) is not None:
            data = file.read_bytes()
            return 200, data, hashlib.sha1(data).hexdigest()  # noqa: S324 -- git's
        return 404, b"", ""
