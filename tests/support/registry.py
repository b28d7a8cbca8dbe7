"""An OCI registry on this machine, as far as pushing goes, which asks who it is by a token service."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

TOKEN: Final = "secret"  # noqa: S105 -- of the test
GIVEN: Final = "given"


@dataclass
class OciRegistry:
    """One repository, `me/noto`."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    """By tag."""
    uploads: list[str] = field(default_factory=list)
    host: str = ""

    def files(self, tag: str) -> dict[str, bytes]:
        """Return the files of a tag by name, as `oras pull` would write them."""
        layers = json.loads(self.manifests[tag])["layers"]
        return {layer["annotations"]["org.opencontainers.image.title"]: self.blobs[layer["digest"]] for layer in layers}


@contextmanager
def oci_registry() -> Iterator[OciRegistry]:
    """Serve an empty registry."""
    registry = OciRegistry()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"registry": registry}))
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: OciRegistry

    def do_GET(self) -> None:
        """Give a token to who knows the secret."""
        wanted = base64.b64encode(f"diptych:{TOKEN}".encode()).decode()
        asked = parse_qs(urlsplit(self.path).query)
        known = self.headers["Authorization"] == f"Basic {wanted}" and asked["scope"] == ["repository:me/noto:push"]
        self._say(200 if known else 401, json.dumps({"token": GIVEN}).encode())

    def do_HEAD(self) -> None:
        """Say whether something is there."""
        kind, _, name = self.path.removeprefix("/v2/me/noto/").partition("/")
        found: dict[str, bytes] = {"blobs": self.registry.blobs, "manifests": self.registry.manifests}[kind]
        if self._knows():
            digest = f"sha256:{hashlib.sha256(found[name]).hexdigest()}" if name in found else ""
            self._say(200 if digest else 404, headers={"Docker-Content-Digest": digest})

    def do_POST(self) -> None:
        """Begin an upload."""
        if self._knows():
            self._say(202, headers={"Location": "/v2/me/noto/blobs/uploads/1?state=x"})

    def do_PUT(self) -> None:
        """Take a blob or a manifest."""
        data, place = self.rfile.read(int(self.headers["Content-Length"])), urlsplit(self.path)
        if not self._knows():
            return
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if "/manifests/" in place.path:
            self.registry.manifests[place.path.rpartition("/")[2]] = data
        else:
            assert parse_qs(place.query) == {"state": ["x"], "digest": [digest]}
            self.registry.blobs[digest] = data
            self.registry.uploads.append(digest)
        self._say(201, headers={"Docker-Content-Digest": digest})

    def _knows(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {GIVEN}":
            return True
        realm = f"http://{self.registry.host}/token"
        challenge = f'Bearer realm="{realm}",service="test",scope="repository:me/noto:push"'
        self._say(401, headers={"WWW-Authenticate": challenge})
        return False

    def _say(self, status: int, body: bytes = b"", headers: dict[str, Any] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
