"""A client in a pod: asks a deployment for pictures one after the other until SIGTERM, then tells what came of it.

It runs by itself, in the image's Python, and keeps its connection as clients do.
"""

import http.client
import json
import signal
import sys


def main(host: str, port: int) -> None:
    """Ask until told to stop; print one line for each answer or failure."""
    for wish in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wish, lambda *_: sys.exit(0))
    connection, seed = http.client.HTTPConnection(host, port, timeout=120), 0
    while True:
        seed += 1
        body = json.dumps({"prompt": "red apple", "seed": seed})
        try:
            connection.request("POST", "/v1/generate", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            told = "answered" if answer.status == http.client.OK else f"failed {answer.status} {said[:200]!r}"
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            told = f"failed {error!r}"
        sys.stdout.write(f"{seed} {told}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
