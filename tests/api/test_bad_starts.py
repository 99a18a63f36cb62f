"""What cannot start says so in a sentence that names the setting."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from api.doctor import (
    ENDPOINT,
    Finding,
    base_image,
    database,
    environments,
    model_endpoint,
    names_of_settings,
    sandbox,
)
from api.endpoints import check_model
from api.service import NotOpen, open_service
from api.settings import Settings, SettingsError, read_settings
from envs.swe.engine.words import NO_ENGINE
from rollout.reply import failure


def refusal(**settings: object) -> str:
    with pytest.raises(NotOpen) as e, open_service(Settings.model_validate(settings)):
        pass
    return str(e.value)


def test_a_home_that_is_a_file_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert refusal(home=tmp_path / "home") == (
        f"the home folder {tmp_path / 'home'} cannot be made: File exists; "
        "set TRAJC_HOME to a folder that you may write"
    )


@pytest.mark.parametrize("url", ["postgresql://a:hidden@127.0.0.1:1/x", "no url:hidden", "oracle9://a:hidden@b/c"])
def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path, url: str) -> None:
    words = refusal(home=tmp_path, database_url=url)
    assert words.startswith("the database of TRAJC_DATABASE_URL cannot be opened: ")
    assert words.endswith("; start it, or unset it to use SQLite")
    assert "hidden" not in words


def test_a_broken_sqlite_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "trajc.db").write_bytes(b"no database" * 1000)
    assert "file is not a database; set TRAJC_HOME" in refusal(home=tmp_path)


def test_a_database_of_a_newer_trajc_is_named_by_service_and_doctor(tmp_path: Path) -> None:
    with open_service(Settings(home=tmp_path)):
        assert database(Settings(home=tmp_path)) == Finding("database", "ok", f"SQLite at {tmp_path / 'trajc.db'}")
    with closing(sqlite3.connect(tmp_path / "trajc.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    words = "the database stands at step '9999', which this trajc does not know; upgrade trajc"
    assert refusal(home=tmp_path) == f"the database in {tmp_path} cannot be opened: {words}"
    found = database(Settings(home=tmp_path))
    assert (found.state, found.words) == ("missing", f"SQLite at {tmp_path / 'trajc.db'}: {words}")


def test_doctor_reads_the_database_and_does_not_only_name_it(tmp_path: Path) -> None:
    (tmp_path / "trajc.db").write_bytes(b"no database" * 1000)
    found = database(Settings(home=tmp_path))
    assert (found.state, "cannot be read: file is not a database" in found.words) == ("missing", True)
    assert [path.name for path in tmp_path.iterdir()] == ["trajc.db"]


@pytest.mark.parametrize("url", ["mysql://a:hidden@127.0.0.1/x", "duckdb:///x"])
def test_a_database_of_another_kind_is_refused_by_name(tmp_path: Path, url: str) -> None:
    kind = url.partition(":")[0]
    words = f"a database is sqlite:///PATH or postgresql://USER@HOST/NAME, not {kind}"
    assert words in refusal(home=tmp_path, database_url=url)
    way_out = "mend TRAJC_DATABASE_URL, or unset it to use SQLite"
    assert database(Settings(database_url=url)) == Finding("database", "missing", words, way_out)


def test_doctor_names_settings_that_an_environment_refuses(tmp_path: Path) -> None:
    wrong = Settings(home=tmp_path / "home", environments={"search": {"threads": "x"}, "sweet": {}})
    found = environments(wrong)
    assert (found.state, found.way_out) == ("missing", "mend TRAJC_ENVIRONMENTS")
    assert "search: settings of the search environment: threads" in found.words
    assert "unknown environment 'sweet'; known: search, sql, swe" in found.words
    assert environments(Settings(home=tmp_path / "home")).state == "ok"
    assert not (tmp_path / "home").exists()


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """The base URL of a server that answers everything so; whom it asks for a key and who has none, with 401."""
    servers = []

    def make(status: int, body: bytes, key: str | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = key is None or self.headers["Authorization"] == f"Bearer {key}"
                self.send_response(status if known else 401)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=servers[-1].serve_forever).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/v1"

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"{}", "answered 401"),
        (200, b"<html>", "answered with no list of models"),
        (200, b'{"models": []}', "answered with no list of models"),
    ],
)
def test_doctor_says_in_one_line_what_an_endpoint_answers(
    answering: Callable[[int, bytes], str], status: int, body: bytes, words: str
) -> None:
    url = answering(status, body)
    expected = Finding("model endpoint", "missing", f"{url}/models {words}", ENDPOINT)
    assert model_endpoint(Settings(base_url=(url,))) == expected


def test_doctor_asks_with_the_key_that_models_are_asked_with(answering: Callable[..., str], tmp_path: Path) -> None:
    url = answering(200, b'{"data": [{"id": "m"}]}', "sesame")
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({url: "sesame"}))
    found = model_endpoint(Settings(base_url=(url,), model_keys=keys))
    assert found == Finding("model endpoint", "ok", f"{url} serves m")


def test_doctor_names_a_key_file_that_cannot_be_read(tmp_path: Path) -> None:
    found = model_endpoint(Settings(model_keys=tmp_path / "keys.json"))
    assert (found.state, found.words) == (
        "missing",
        f"TRAJC_MODEL_KEYS: no key can be read in {tmp_path / 'keys.json'}",
    )


async def test_a_run_says_at_once_which_endpoint_is_dead_and_which_is_none(
    answering: Callable[[int, bytes], str],
) -> None:
    right, page, dead = answering(200, b'{"data": [{"id": "m"}]}'), answering(200, b"<html>"), "http://127.0.0.1:1/v1"
    later = "the rollouts are queued and will be tried"
    assert await check_model(Settings(), "m", [right, page, dead]) == [
        f"{page}/models answered with no list of models; {later}",
        f"{dead}/models does not answer now (ConnectError); {later}",
    ]


async def test_a_base_url_without_v1_and_a_missing_key_are_told_apart(answering: Callable[..., str]) -> None:
    bare, locked = answering(404, b"").removesuffix("/v1"), answering(200, b"", "sesame")
    later = "the rollouts are queued and will be tried"
    keys = "(a key comes from TRAJC_MODEL_KEY, or from the file of TRAJC_MODEL_KEYS)"
    assert await check_model(Settings(), "m", [bare, locked]) == [
        f"{bare}/models answered 404 (a base URL ends in /v1); {later}",
        f"{locked}/models answered 401 {keys}; {later}",
    ]
    assert str(failure(404, "Not Found", bare)) == f"{bare} answered 404: Not Found (a base URL ends in /v1)"
    assert str(failure(404, "no model m", f"{bare}/v1")) == f"{bare}/v1 answered 404: no model m"


def test_an_engine_or_a_root_file_system_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/engine.sock"
    words = f"no Docker engine answers at {url} (DockerException): no SWE rollouts"
    assert sandbox(Settings(environments={"swe": {"docker_url": url}})).words == words
    assert "DOCKER_HOST, or `docker_url` in the swe settings" in NO_ENGINE
    bare = Settings(environments={"swe": {"sandbox": "bubblewrap"}})
    assert base_image(bare).words == "bubblewrap shows a root file system, and none is named"
    assert "None" not in sandbox(bare).words


def test_doctor_names_a_setting_that_is_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRAJC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRAJC_MODEL", "m")
    assert names_of_settings(Settings()) == Finding("settings", "ok", "1 are set")
    monkeypatch.setenv("TRAJC_BASE_URLS", "http://gpu-1/v1")
    words = "no setting, and not read: TRAJC_BASE_URLS (meant TRAJC_BASE_URL?)"
    assert names_of_settings(Settings()) == Finding("settings", "unused", words, "docs/settings.md has them all")


def test_a_redis_that_is_none_is_named_at_the_start() -> None:
    with pytest.raises(SettingsError, match=r"^TRAJC_REDIS_URL: .*must begin with redis://"):
        read_settings({"TRAJC_REDIS_URL": "localhost:6379"})


def test_settings_of_an_environment_that_is_none_are_not_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_service(Settings(home=tmp_path, environments={"sqll": {"query_seconds": 60}})) as service:
        service.every_environment()
    (line,) = caplog.messages
    assert line == (
        "TRAJC_ENVIRONMENTS: no environment is called 'sqll': its settings are not used; known: search, sql, swe"
    )


def test_an_environment_with_wrong_settings_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_service(Settings(home=tmp_path, environments={"search": {"thread": 1}})) as service:
        assert "search" not in service.every_environment()
    (line,) = caplog.records
    assert line.getMessage().startswith("rollouts in environment search will fail: settings of the search environment")
    assert line.exc_info is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u@h:hunter2/db", "its port is no number"),
        ("postgresql+pg8000://u:hunter2@h/db", "No module named 'pg8000'"),
        ("mysql://u:hunter2@h/db", "a database is sqlite:///PATH or postgresql://USER@HOST/NAME, not mysql"),
    ],
)
def test_a_database_url_that_cannot_be_read_is_named_without_its_password_and_without_a_traceback(
    tmp_path: Path, url: str, words: str
) -> None:
    settings = Settings(home=tmp_path, database_url=url)
    with pytest.raises(NotOpen) as raised, open_service(settings):
        pass
    way_out = "start it, or unset it to use SQLite"
    assert str(raised.value) == f"the database of TRAJC_DATABASE_URL cannot be opened: {words}; {way_out}"
    assert database(settings).words == words
