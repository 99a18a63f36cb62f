"""Ports for servers that tests start."""

import random
import socket

BELOW = 32768
"""From here on Linux gives ports to outgoing connections: one that is free now may not be so when a server starts."""


def free_port() -> int:
    """One that nobody listens on. Drawn at random: tests that run at once do not draw the same."""
    while True:
        port = random.randrange(10_000, BELOW)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
