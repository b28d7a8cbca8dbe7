"""A real HTTP server that answers as an OpenAI-compatible endpoint does, well or badly."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import PIL.Image

from support.answering import QuietHandler, answering

Answer = tuple[int, dict[str, str], bytes]


def said(content: object) -> Answer:
    """Return the answer with this content."""
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return 200, {}, json.dumps(body).encode()


@dataclass
class VisionEndpoint:
    """What the server was asked, and what it answers: a function of the picture and the number of the request."""

    answer: Callable[[PIL.Image.Image, int], Answer]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: str, key: str | None, body: bytes) -> Answer:
        """Return the answer to a request."""
        question = json.loads(body)
        with self.lock:
            self.asked.append(question | {"path": path})
            self.keys.append(key)
            number = len(self.asked)
        url = question["messages"][0]["content"][1]["image_url"]["url"]
        data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
        with PIL.Image.open(io.BytesIO(data)) as picture:
            return self.answer(picture.convert("RGB"), number)


@contextmanager
def vision_endpoint(answer: Callable[[PIL.Image.Image, int], Answer]) -> Iterator[VisionEndpoint]:
    """Serve while the body runs."""
    endpoint = VisionEndpoint(answer)

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, data = endpoint.take(self.path, self.headers.get("Authorization"), body)
            self.say(status, data, headers)

    with answering(Handler) as port:
        endpoint.url = f"http://127.0.0.1:{port}/v1"
        yield endpoint
