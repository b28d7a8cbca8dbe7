"""A hub on this machine that takes commits, as the real client makes them: preupload, LFS, then NDJSON."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from support.answering import QuietHandler, answering

REPO: Final = "me/noto"
LARGE: Final = ".safetensors"
TOKEN: Final = "hf_test"  # noqa: S105 -- of the test


@dataclass
class ModelHub:
    """One repository that is yet to be made, and what was asked of it."""

    private: bool | None = None
    """Of the repository; None while there is none."""
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """Contents of large files by SHA-256, committed or not."""
    commits: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    """SHA-256 of each large file that was sent."""
    dies_before_commit: bool = False
    url: str = ""

    def tree(self) -> list[dict[str, Any]]:
        """Return the files as the hub lists them."""
        return [self._entry(name, data) for name, data in sorted(self.files.items())]

    def commit(self, lines: list[dict[str, Any]]) -> str:
        """Apply a commit and return its hash."""
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    self.commits.append(value["summary"])
                case "file":
                    self.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    self.files[value["path"]] = self.large[value["oid"]]
                case "deletedFile":
                    del self.files[value["path"]]
        return f"{len(self.commits):040x}"

    def _entry(self, name: str, data: bytes) -> dict[str, Any]:
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 -- git's
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": oid}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry


@contextmanager
def model_hub() -> Iterator[ModelHub]:
    """Serve a hub without any repository."""
    hub = ModelHub()
    with answering(type("Handler", (_Handler,), {"hub": hub})) as port:
        hub.url = f"http://127.0.0.1:{port}"
        yield hub


class _Handler(QuietHandler, BaseHTTPRequestHandler):
    hub: ModelHub

    def do_GET(self) -> None:
        """List the files."""
        if self.hub.private is None:
            self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        else:
            self._say(200, self.hub.tree())

    def do_POST(self) -> None:
        """Take one step of an upload."""
        body, path = self._body(), self.path.partition("?")[0]
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._say(401, {"error": "Invalid credentials"})
        elif path == "/api/validate-yaml":
            self._say(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self.hub.private = json.loads(body)["visibility"] == "private"
            self._say(200, {"url": f"{self.hub.url}/{REPO}", "id": REPO})
        elif path == f"/api/models/{REPO}/preupload/main":
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in names}
            self._say(200, {"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]})
        elif path == f"/{REPO}.git/info/lfs/objects/batch":
            self._say(200, {"transfer": "basic", "objects": [self._large(o) for o in json.loads(body)["objects"]]})
        elif self.hub.dies_before_commit:
            self._say(503, {"error": "maintenance"})
        else:
            oid = self.hub.commit([json.loads(line) for line in body.splitlines()])
            self._say(200, {"commitUrl": f"{self.hub.url}/{REPO}/commit/{oid}", "commitOid": oid})

    def do_PUT(self) -> None:
        """Take a large file."""
        data = self._body()
        self.hub.large[hashlib.sha256(data).hexdigest()] = data
        self.hub.uploads.append(self.path.rpartition("/")[2])
        self._say(200, {})

    def _large(self, wanted: dict[str, Any]) -> dict[str, Any]:
        known = wanted["oid"] in self.hub.large
        actions = {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}}
        return wanted if known else wanted | {"actions": actions}

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _say(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        self.say(status, json.dumps(content).encode(), headers)
