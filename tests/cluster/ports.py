"""Ports that stay ours: below those which the kernel hands to outgoing connections."""

import random
import socket

LOWEST, HIGHEST = 20_000, 32_000


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on. A server may come back to it after a restart."""
    while True:
        port = random.SystemRandom().randint(LOWEST, HIGHEST)
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
