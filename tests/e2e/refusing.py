"""A hub in a pod that refuses everybody. It runs by itself, in the image's Python."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Refusal(BaseHTTPRequestHandler):
    """Answers 401."""

    def do_HEAD(self) -> None:
        """Answer without a body, as always."""
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Refusal).serve_forever()  # noqa: S104 - the pod's own
