"""Who may call the service, and from which page."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

Make = Callable[..., TestClient]


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        ("Bearer first", 200),
        ("bearer second", 200),
        (basic("second"), 200),
        (basic("wrong"), 401),
        ("Basic !", 401),
        ("Bearer first,second", 401),
    ],
)
def test_only_a_known_key_opens(client_with: Make, authorization: str | None, status: int) -> None:
    client = client_with("http://trajc.example", api_keys="first,second")
    headers = {"Authorization": authorization} if authorization else {}
    answer = client.get("/v1/runs", headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer, Basic realm="trajc"'
        assert answer.json()["type"] == "urn:trajc:problem:no-key"
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("host", "status"),
    [("http://127.0.0.1:8420", 200), ("http://localhost", 200), ("http://[::1]:1", 200), ("http://evil.example", 403)],
)
def test_without_keys_only_this_machine_by_its_own_name_is_answered(client_with: Make, host: str, status: int) -> None:
    """A foreign name that resolves to this machine is how a web page would reach it."""
    assert client_with(host).get("/v1/runs").status_code == status


@pytest.mark.parametrize(
    ("origin", "status"), [(None, 422), ("http://127.0.0.1", 422), ("http://evil.example", 403), ("null", 403)]
)
def test_a_page_of_another_origin_may_not_write(client: TestClient, origin: str | None, status: int) -> None:
    headers = {"Origin": origin} if origin else {}
    assert client.post("/v1/runs", json={}, headers=headers).status_code == status


def test_every_answer_forbids_scripts_of_others(client: TestClient) -> None:
    for path in ("/", "/v1/runs", "/static/style.css", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")


@pytest.mark.parametrize("host", ["[", "[]", "[::1", "[x]:1"])
def test_a_host_that_is_none_is_a_foreign_one_and_no_fault_of_ours(client: TestClient, host: str) -> None:
    assert client.get("/v1/runs", headers={"Host": host}).json()["type"] == "urn:trajc:problem:foreign-host"


def test_an_origin_that_is_none_is_a_foreign_one_and_no_fault_of_ours(client: TestClient) -> None:
    answer = client.post("/v1/runs", json={}, headers={"Origin": "http://["})
    assert answer.json()["type"] == "urn:trajc:problem:foreign-page"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer sésame".encode(), 200),
        ("Bearer sésame".encode("latin-1"), 200),
        (basic("sésame").encode(), 200),
        (b"Bearer s\xff", 401),
        (b"Basic \xe9\xe9", 401),
    ],
)
def test_a_key_beyond_ascii_opens_and_is_no_fault_of_ours(client_with: Make, authorization: bytes, status: int) -> None:
    client = client_with("http://trajc.example", api_keys="sésame")
    assert client.get("/v1/runs", headers={b"Authorization": authorization}).status_code == status


@pytest.mark.parametrize(("keys", "kept_by"), [("first", "private"), ("", "public")])
def test_a_proxy_s_cache_hands_no_file_of_a_service_with_keys_to_strangers(
    client_with: Make, tmp_path: Path, keys: str, kept_by: str
) -> None:
    """`public` lets shared caches keep even what was asked for with a key."""
    client = client_with(api_keys=keys)
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.service.store.add_version("d", "v", {"files": {}})
    folder = tmp_path / "other" / "datasets" / "d" / "v"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(b"{}")
    at = "/v1/datasets/d/versions/v/files/manifest.json"
    whole = client.get(at, headers={"Authorization": "Bearer first"})
    again = client.get(at, headers={"Authorization": "Bearer first", "If-None-Match": whole.headers["etag"]})
    assert (whole.status_code, again.status_code) == (200, 304)
    for answer in (whole, again):
        assert answer.headers["cache-control"] == f"{kept_by}, max-age=31536000, immutable"
