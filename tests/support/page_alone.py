"""A program that asks the page's application what it should refuse, and counts whom this process calls meanwhile."""

import json
import sys
import threading
from pathlib import Path
from typing import Any

LOCAL = ("127.0.0.1", "::1", "localhost")
called: list[str] = []


def listen(event: str, arguments: tuple[Any, ...]) -> None:
    """Note each host that is looked up or connected to."""
    if event == "socket.getaddrinfo":
        called.append(str(arguments[0]))
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        called.append(str(arguments[1][0]))


def main() -> None:
    """Print the answers as JSON."""
    sys.addaudithook(listen)
    from fastapi.testclient import TestClient  # noqa: PLC0415 - what imports call is counted too

    from diptych_serving.page.blocks import page_app  # noqa: PLC0415 - as above

    with TestClient(page_app("http://127.0.0.1:9", "Diptych")) as client:
        answers = {
            "page": client.get("/").status_code,
            "files": [
                client.get(f"/gradio_api/file={path}").status_code
                for path in ("/etc/passwd", Path.cwd() / "pyproject.toml")
            ],
            "upload": client.post("/gradio_api/upload", files={"files": b"a picture"}).status_code,
            "may be clicked": [
                part["props"]["interactive"]
                for part in client.get("/config").json()["components"]
                if part["props"].get("elem_id") in ("draw", "again", "new")
            ],
            "endpoints": client.get("/gradio_api/info").json()["named_endpoints"],
        }
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    foreign = sorted({host for host in called if host not in LOCAL})
    sys.stdout.write("\n" + json.dumps({**answers, "foreign": foreign}))


if __name__ == "__main__":
    main()
