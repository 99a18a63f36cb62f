"""A pull from a service that nobody vouches for, and two pulls at once."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from api.client import Client
from api.pull import PullError, pull

ROWS = b"{}\n" * 50_000


class Shelf(ThreadingHTTPServer):
    """Serves one version. `said` is what it calls it; `held` stops a file half-way until it is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        entry = {"sha256": hashlib.sha256(ROWS).hexdigest(), "size": len(ROWS)}
        manifest = json.dumps({"files": {"rows.jsonl": entry}}).encode()
        self.files = {"rows.jsonl": ROWS, "manifest.json": manifest}
        self.version = self.said = hashlib.sha256(manifest).hexdigest()[:40]
        self.held = threading.Event()
        self.held.set()
        self.begun = threading.Event()

    @property
    def listing(self) -> bytes:
        files = [
            {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for path, data in self.files.items()
        ]
        return json.dumps({"version": self.said, "files": files}).encode()

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.server_port}")


class Answer(BaseHTTPRequestHandler):
    server: Shelf

    def do_GET(self) -> None:
        body = self.server.files[self.path.rsplit("/", 1)[1]] if "/files/" in self.path else self.server.listing
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        if "/files/" in self.path:
            self.server.begun.set()
            self.server.held.wait(300)
        self.wfile.write(body[half:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with Shelf() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("said", ["../../escaped", "/tmp/escaped", "", "A" * 40, "0" * 40])
def test_a_version_that_is_no_name_of_its_manifest_becomes_no_folder(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    shelf.said = said
    with shelf.client() as client, pytest.raises(PullError, match="is not the name of its manifest"):
        pull(client, "demo", "latest", None)
    assert [p for p in tmp_path.rglob("*") if p != here.parent] == [here]


def test_another_version_than_the_one_asked_for_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    with shelf.client() as client:
        with pytest.raises(PullError, match=r"asked for 0000.* sent "):
            pull(client, "demo", "0" * 40, tmp_path / "x")
        assert pull(client, "demo", shelf.version, tmp_path / "x").version == shelf.version


def test_the_second_of_two_pulls_at_once_is_refused_and_the_first_is_whole(shelf: Shelf, tmp_path: Path) -> None:
    shelf.held.clear()
    with shelf.client() as one, shelf.client() as two:
        first = threading.Thread(target=pull, args=(one, "demo", "latest", tmp_path / "x"))
        first.start()
        assert shelf.begun.wait(300)
        with pytest.raises(PullError, match="another pull"):
            pull(two, "demo", "latest", tmp_path / "x")
        shelf.held.set()
        first.join()
        assert {p.name: p.read_bytes() for p in (tmp_path / "x").iterdir()} == shelf.files
        assert pull(two, "demo", "latest", tmp_path / "x").fetched == 0
