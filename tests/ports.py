"""Ports for servers that tests start."""

import os
import random
import socket

ABOVE, BELOW = 10_000, 32768
"""From the second on Linux gives ports to outgoing connections: one that is free now may not be so when a server
starts."""
_given: set[int] = set()


def free_port() -> int:
    """One that nobody listens on, drawn at random. What is drawn is bound only once a server has started: it is given
    once, and tests in another process draw from other ports."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    this = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.choice(range(ABOVE + this % processes, BELOW, processes))
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
