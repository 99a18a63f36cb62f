"""What a broken or hostile client sends over the wire, and what others then see of the service. Named after the
symptom."""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from urllib.parse import urlsplit

import httpx

from api.service import Service
from rollout.runs import RunSpec

Serving = Callable[[Service], AbstractContextManager[str]]
MANY = 64
"""More than the threads that all requests share."""


def connected(url: str) -> socket.socket:
    at = urlsplit(url)
    return socket.create_connection((str(at.hostname), at.port), timeout=20)


def test_uploads_that_trickle_do_not_keep_others_from_an_answer(service: Service, serve_app: Serving) -> None:
    run = service.store.create_run(RunSpec(environment="search", model="m"), sealed=False).id
    head = f"POST /v1/runs/{run}/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{{"
    with serve_app(service) as url, ExitStack() as held:
        for _ in range(MANY):
            held.enter_context(connected(url)).sendall(head.encode())
        answer = httpx.get(f"{url}/v1/runs/{run}", timeout=20)
    assert (answer.status_code, answer.json()["accounts"]["submitted"]) == (200, 0)
