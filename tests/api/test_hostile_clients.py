"""What a broken or hostile client sends over the wire, and what others then see of the service. Named after the
symptom."""

import gzip
import logging
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from json import dumps, loads
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from api.service import Service
from rollout.runs import RunSpec

Serving = Callable[[Service], AbstractContextManager[str]]
LINES = {"Content-Type": "application/x-ndjson"}
PROBLEM = "application/problem+json"
MANY = 64
"""More than the threads that all requests share."""


def connected(url: str) -> socket.socket:
    at = urlsplit(url)
    return socket.create_connection((str(at.hostname), at.port), timeout=120)


def test_uploads_that_trickle_do_not_keep_others_from_an_answer(service: Service, serve_app: Serving) -> None:
    run = service.store.create_run(RunSpec(environment="search", model="m"), sealed=False).id
    head = f"POST /v1/runs/{run}/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{{"
    with serve_app(service) as url, ExitStack() as held:
        for _ in range(MANY):
            held.enter_context(connected(url)).sendall(head.encode())
        answer = httpx.get(f"{url}/v1/runs/{run}", timeout=120)
    assert (answer.status_code, answer.json()["accounts"]["submitted"]) == (200, 0)


@pytest.mark.parametrize(
    ("path", "own", "other"),
    [
        ("/v1/runs", "run", "ro"),
        ("/v1/rollouts", "ro", "run"),
        ("/v1/compilations", "comp", "run"),
        ("/", "run", "comp"),
        ("/rollouts", "ro", "run"),
    ],
)
def test_another_list_s_cursor_does_not_make_an_empty_page(client: TestClient, path: str, own: str, other: str) -> None:
    assert client.get(path, params={"cursor": f"{own}_{'0' * 32}"}).status_code == 200
    answer = client.get(path, params={"cursor": f"{other}_{'0' * 32}"})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:trajc:problem:bad-cursor")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h:x/v1", "not 'http://h:x/v1'"),
        ("http://h:99999/v1", "not 'http://h:99999/v1'"),
        ("http://h/v1\n", "not 'http://h/v1\\n'"),
        ("http://h\x00/v1", "not 'http://h\\x00/v1'"),
        ("http://[x/v1", "URL"),
        (f"http://h/{'a' * 70_000}", "longer than 2000 characters"),
    ],
)
def test_an_endpoint_nobody_can_ask_is_refused_in_words_and_is_no_fault_of_ours(
    client: TestClient, url: str, words: str
) -> None:
    wanted = {"environment": "search", "model": "m", "open": True}
    for answer in (
        client.post("/v1/runs", json={**wanted, "base_urls": [url]}),
        client.post("/v1/endpoints", json={"base_url": url}),
    ):
        assert (answer.status_code, words in answer.json()["detail"]) == (422, True)
    assert client.get("/v1/endpoints").json()["items"] == []


@pytest.mark.parametrize("depth", [150, 300, 900])
def test_values_nested_without_end_are_refused_in_words_and_are_no_fault_of_ours(
    client: TestClient, depth: int
) -> None:
    sampling = {"x": loads("[" * depth + "]" * depth)}
    spec = {"environment": "search", "model": "m", "base_urls": ["http://127.0.0.1:9/v1"], "sampling": sampling}
    for answer in (
        client.post("/v1/runs", json={**spec, "open": True}),
        client.post("/v1/runs", params={"spec": dumps(spec)}, content=b"", headers=LINES),
        client.post("/v1/compilations", json={"dataset": "d", "recipe": {"teacher": {"sampling": sampling}}}),
    ):
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:trajc:problem:too-deep")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/runs", {"environment": "search", "model": "m", "open": True, "priority": 2**31}, "field priority: "),
        ("/v1/runs", {"environment": "search", "model": "m", "open": True, "priority": -(2**63) - 1}, "priority: "),
        ("/v1/endpoints", {"base_url": "http://127.0.0.1:9/v1", "slots": 2**31}, "body.slots: "),
        ("/v1/endpoints", {"base_url": "http://127.0.0.1:9/v1", "at_once": 2**63}, "body.at_once: "),
    ],
)
def test_a_number_that_no_database_keeps_is_refused_and_is_no_fault_of_ours(
    client: TestClient, path: str, body: dict[str, Any], field: str
) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, field in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("id", [str(2**63), "9" * 5000])
def test_an_event_id_beyond_all_ids_does_not_break_the_stream_off(client: TestClient, id: str) -> None:
    for answer in (
        client.get("/v1/events", params={"after": id}),
        client.get("/v1/events", headers={"Last-Event-ID": id}),
        client.get("/v1/events", params={"after": "1"}, headers={"Last-Event-ID": id}),
    ):
        assert (answer.status_code in (400, 422), answer.headers["content-type"]) == (True, PROBLEM)


def test_a_body_that_ends_too_early_is_no_fault_of_ours(
    service: Service, serve_app: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    run = service.store.create_run(RunSpec(environment="search", model="m"), sealed=False).id
    with serve_app(service) as url:
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)  # it hands nothing on
        for path in (f"/v1/runs/{run}/tasks", "/v1/runs", "/v1/task-sets/s"):
            with connected(url) as cut:
                method = "PUT" if "sets" in path else "POST"
                cut.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{{".encode())
        assert httpx.get(f"{url}/v1/runs/{run}", timeout=120).json()["accounts"]["submitted"] == 0
    logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    "asked", ["items=0-1", "bytes=5-2", "bytes=x-", "bytes=-", "bytes", f"bytes={'9' * 5000}-", "bytes=0-1,x"]
)
def test_a_range_that_cannot_be_read_brings_the_whole_file(service: Service, client: TestClient, asked: str) -> None:
    """As HTTP has it; what can be read and lies behind the end is said to do so."""
    folder = service.settings.datasets / "d" / "v"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"0123456789")
    (folder / "manifest.json").write_bytes(b"{}")
    service.store.add_version("d", "v", {"files": {"a.txt": {"size": 10, "sha256": "0" * 64}}})
    at = "/v1/datasets/d/versions/v/files/a.txt"
    answer = client.get(at, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    good = client.get(at, headers={"Range": "bytes=2-3"})
    assert (good.status_code, good.content, client.get(at, headers={"Range": "bytes=10-"}).status_code) == (
        206,
        b"23",
        416,
    )


def test_a_run_whose_url_would_be_refused_today_makes_no_list_unreadable(client: TestClient, service: Service) -> None:
    spec = RunSpec(environment="search", model="m", base_urls=("http://h:x/v1", "http://h/v1#f"), priority=2**40)
    id = service.store.create_run(spec, sealed=False).id
    assert [run["id"] for run in client.get("/v1/runs").json()["items"]] == [id]
    assert [client.get(path).status_code for path in (f"/v1/runs/{id}", "/v1/endpoints", "/")] == [200, 200, 200]


def test_writers_that_wait_for_a_long_one_do_not_keep_readers_from_an_answer(
    service: Service, serve_app: Serving
) -> None:
    run = service.store.create_run(RunSpec(environment="search", model="m"), sealed=False).id
    pause = f"POST /v1/runs/{run}/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    with serve_app(service) as url, ExitStack() as held, service.store.write():
        for _ in range(MANY - 16):
            held.enter_context(connected(url)).sendall(pause.encode())
        answer = httpx.get(f"{url}/v1/runs/{run}", timeout=40)
    assert (answer.status_code, answer.json()["paused"]) == (200, False)


def test_a_compressed_body_is_not_said_to_be_broken_json(client: TestClient) -> None:
    body = gzip.compress(dumps({"environment": "search", "model": "m", "open": True}).encode())
    for method, path in (("POST", "/v1/runs"), ("POST", "/v1/endpoints"), ("PUT", "/v1/task-sets/s")):
        answer = client.request(method, path, content=body, headers={"Content-Encoding": "gzip"})
        assert (answer.status_code, answer.json()["detail"]) == (
            415,
            "the body comes as gzip: send it as it is, without Content-Encoding",
        )


def test_a_cursor_of_endless_digits_is_refused_and_is_no_fault_of_ours(service: Service, client: TestClient) -> None:
    service.store.add_version("d", "v", {"files": {}})
    answer = client.get("/v1/datasets/d/versions/v/examples", params={"cursor": "9" * 5000})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:trajc:problem:bad-cursor")


def test_a_name_of_a_megabyte_does_not_fill_every_page_that_lists_runs(client: TestClient) -> None:
    spec = {"environment": "search", "model": "m", "base_urls": ["http://127.0.0.1:9/v1"], "open": True}
    answer = client.post("/v1/runs", json={**spec, "name": "x" * 10**6})
    assert (answer.status_code, "field name: " in answer.json()["detail"]) == (422, True)
    assert client.post("/v1/runs", json={**spec, "name": "x" * 200}).status_code == 201
