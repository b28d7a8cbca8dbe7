"""An OCI registry on this machine, as far as pushing goes, which asks who it is by a token service."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Final
from urllib.parse import parse_qs, urlsplit

from support.answering import QuietHandler, answering

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
    with answering(type("Handler", (_Handler,), {"registry": registry})) as port:
        registry.host = f"127.0.0.1:{port}"
        yield registry


class _Handler(QuietHandler, BaseHTTPRequestHandler):
    registry: OciRegistry

    def do_GET(self) -> None:
        """Give a token to who knows the secret."""
        wanted = base64.b64encode(f"diptych:{TOKEN}".encode()).decode()
        asked = parse_qs(urlsplit(self.path).query)
        known = self.headers["Authorization"] == f"Basic {wanted}" and asked["scope"] == ["repository:me/noto:push"]
        self.say(200 if known else 401, json.dumps({"token": GIVEN}).encode())

    def do_HEAD(self) -> None:
        """Say whether something is there."""
        kind, _, name = self.path.removeprefix("/v2/me/noto/").partition("/")
        found: dict[str, bytes] = {"blobs": self.registry.blobs, "manifests": self.registry.manifests}[kind]
        if self._knows():
            digest = f"sha256:{hashlib.sha256(found[name]).hexdigest()}" if name in found else ""
            self.say(200 if digest else 404, headers={"Docker-Content-Digest": digest})

    def do_POST(self) -> None:
        """Begin an upload."""
        if self._knows():
            self.say(202, headers={"Location": "/v2/me/noto/blobs/uploads/1?state=x"})

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
        self.say(201, headers={"Docker-Content-Digest": digest})

    def _knows(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {GIVEN}":
            return True
        realm = f"http://{self.registry.host}/token"
        challenge = f'Bearer realm="{realm}",service="test",scope="repository:me/noto:push"'
        self.say(401, headers={"WWW-Authenticate": challenge})
        return False
