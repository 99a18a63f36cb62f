"""A gate before a model endpoint: what is to be met half way waits there, however fast or slow the machine is."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Passes = Callable[[dict[str, Any]], bool]
"""Whether the reply to this request goes on to who asked."""


def turns_below(n: int) -> Passes:
    """So many replies of each conversation."""
    return lambda body: sum(message["role"] == "assistant" for message in body["messages"]) < n


def first(n: int) -> Passes:
    """So many replies in all."""
    left = iter(range(n))
    return lambda _: next(left, None) is not None


class Gate(ThreadingHTTPServer):
    """Asks the endpoint at once, and so has each reply paid for, but keeps it while the gate is shut to it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, base_url: str, passes: Passes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.behind = base_url.removesuffix("/v1")
        self._passes = passes
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self.passed: set[str] = set()
        """The conversations of which a reply went on, as an oracle names them."""
        self.held: list[str] = []
        """Those whose reply waits, or waited until the gate was opened."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def open(self) -> None:
        """To all, for good."""
        self._opened.set()

    def wait(self, body: dict[str, Any], reply: dict[str, Any]) -> None:
        talk = str(reply["id"]).split("-")[1]
        with self._lock:
            if self._opened.is_set() or self._passes(body):
                self.passed.add(talk)
                return
            self.held.append(talk)
        self._opened.wait()


class _Answer(BaseHTTPRequestHandler):
    server: Gate
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._pass_on(httpx.get(self.server.behind + self.path, timeout=300))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(self.server.behind + self.path, content=data, headers=headers, timeout=300)
        if answer.status_code == 200:
            self.server.wait(json.loads(data), answer.json())
        self._pass_on(answer)

    def _pass_on(self, answer: httpx.Response) -> None:
        with contextlib.suppress(ConnectionError):  # who asked may have been killed meanwhile
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["content-type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def gate(base_url: str, passes: Passes) -> Iterator[Gate]:
    made = Gate(base_url, passes)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.open()
        made.shutdown()
        thread.join()
        made.server_close()
