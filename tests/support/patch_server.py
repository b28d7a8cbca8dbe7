"""A small HTTP server that stands for the API server where a pod applies its report."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.answering import QuietHandler, answering


@dataclass(frozen=True)
class Patch:
    """One PATCH as it came."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class PatchServer:
    """What came so far.

    Another token than ``accepts``, where that is set, is answered with 401. ``refusals`` are the status
    codes of the next answers, while there are any.
    """

    url: str = ""
    patches: list[Patch] = field(default_factory=list)
    refused: list[Patch] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    accepts: str = ""

    def specs(self) -> list[dict[str, Any]]:
        """Return the specs that were accepted, in order."""
        return [patch.body["spec"] for patch in self.patches]

    def take(self, patch: Patch) -> int:
        """Keep a request; return the status code of the answer."""
        if self.accepts and patch.headers["Authorization"] != f"Bearer {self.accepts}":
            code = 401
        else:
            code = self.refusals.pop(0) if self.refusals else 200
        (self.patches if code == 200 else self.refused).append(patch)
        return code


@contextmanager
def listening() -> Iterator[PatchServer]:
    """Serve on a free port while the body runs."""
    taken = PatchServer()

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            parts = urlsplit(self.path)
            code = taken.take(Patch(parts.path, parse_qs(parts.query), dict(self.headers), body))
            answer = json.dumps({"kind": "Status", "message": f"refused with {code}"}).encode()
            self.say(code, answer)

    with answering(Handler) as port:
        taken.url = f"http://127.0.0.1:{port}"
        yield taken


def write_account(folder: Path, token: str = "first") -> Path:  # noqa: S107 - of a server that is none
    """Write a service account's folder without a certificate."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(f"{token}\n")
    (folder / "namespace").write_text("team")
    return folder
