"""A client in a pod: asks a deployment for pictures one after the other until SIGTERM, then tells what came of it.

It runs by itself, in the image's Python, and keeps its connection as clients do. A node learns of a new Service a
moment after everybody else, and what was sent to it before is lost for good: the first connection is tried again.
"""

import http.client
import json
import signal
import socket
import sys

CONNECT_S, ANSWER_S = 3, 120


def main(host: str, port: int) -> None:
    """Ask until told to stop; print one line for each answer or failure."""
    for wish in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wish, lambda *_: sys.exit(0))
    wait_for(host, port)
    connection, seed = http.client.HTTPConnection(host, port, timeout=ANSWER_S), 0
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


def wait_for(host: str, port: int) -> None:
    """Return when connections come through."""
    while True:
        try:
            socket.create_connection((host, port), CONNECT_S).close()
        except OSError:
            continue
        return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
