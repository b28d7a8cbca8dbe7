"""An object store that answers every request the same way, whatever it is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from support.answering import QuietHandler, answering


@dataclass
class Answer:
    """What comes back: a status with S3's words for it; without a status the connection is cut."""

    status: int | None
    code: str = ""
    message: str = ""
    asked: int = 0

    @property
    def body(self) -> bytes:
        """Return S3's XML."""
        return (
            f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>".encode() if self.code else b""
        )


@contextmanager
def refusing(answer: Answer) -> Iterator[str]:
    """Serve on a port of this machine; yield the URL."""

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer.asked += 1
            if answer.status is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_PUT = do_HEAD = do_POST = answer

    with answering(Handler) as port:
        yield f"http://127.0.0.1:{port}"
