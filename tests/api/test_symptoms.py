"""What users met: answers that were silent, empty or a traceback where a word was due. Named after the symptom."""

import errno
import json
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from api.cli.site import local_site
from api.cli.validate import check_file
from api.problems import install
from api.service import Service
from api.settings import Settings
from envs.sql.load import load_database
from rollout.endpoints import EndpointEntry, EndpointState
from rollout.retry import Trouble
from rollout.tally import Tally
from tests.acceptance.fleet import TRAJC

RUN = {"environment": "search", "model": "m", "base_urls": ["http://127.0.0.1:9/v1"]}
LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def ferries(tmp_path: Path) -> None:
    site = local_site(Settings(home=tmp_path / "home"), "sql")
    load_database(Path(__file__).parents[2] / "demo" / "sql" / "ferries", "ferries", site)


def task(id: str, **world: Any) -> dict[str, Any]:
    return {
        "id": id,
        "environment": "sql",
        "question": "How many ports are there?",
        "world": {"database": "ferries", **world},
        "reference": {"gold_sql": "SELECT count(*) FROM ports"},
    }


@pytest.mark.parametrize("path", ["/v1/rollouts?run=nope", "/v1/events?run=nope", "/v1/rollouts?environment=nope"])
def test_a_list_of_what_is_not_there_is_no_empty_list(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, "'nope'" in answer.json()["detail"]) == (404, True)


def test_the_dashboard_s_list_of_a_run_that_is_not_there_is_no_empty_page(client: TestClient) -> None:
    assert client.get("/rollouts?run=nope").status_code == 404


@pytest.mark.parametrize(
    ("path", "word"),
    [("/v1/rns", "/v1/runs"), ("/v1/run/r1", "/v1/runs/{id}"), ("/static/none.css", "/openapi.json"), ("/x%0Ay", "/")],
)
def test_a_mistyped_path_is_not_answered_with_not_found_alone(client: TestClient, path: str, word: str) -> None:
    problem = client.get(path).json()
    assert (problem["status"], problem["type"]) == (404, "urn:trajc:problem:unknown-path")
    assert word in problem["detail"]


def test_a_path_that_is_asked_with_the_wrong_method_names_the_right_ones(client: TestClient) -> None:
    for path, method, allowed in (
        ("/v1/runs", "DELETE", "GET, POST"),
        ("/v1/runs/r1/cancel", "GET", "POST"),
        ("/", "POST", "GET"),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["detail"] == f"{path} does not take {method}; it takes {allowed}."


def test_a_run_with_an_empty_list_of_tasks_is_refused_with_the_way_out(client: TestClient, service: Service) -> None:
    for answer in (
        client.post("/v1/runs", json={**RUN, "tasks": []}),
        client.post("/v1/runs", params={"spec": json.dumps(RUN)}, content=b"\n", headers=LINES),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (422, "urn:trajc:problem:no-tasks")
        assert problem["detail"].endswith("give at least one, or open (true) to append tasks to the run later")
    assert service.store.runs().items == ()
    assert client.post("/v1/runs", json={**RUN, "tasks": [], "open": True}).status_code == 201


@pytest.mark.usefixtures("ferries")
def test_an_id_that_stands_twice_in_one_file_is_refused_by_the_run_as_by_validation(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    lines = "\n".join(json.dumps(task(id)) for id in ("a", "b", "a"))
    file = tmp_path / "twice.jsonl"
    file.write_text(lines)
    (fault,) = check_file(file, Settings(home=tmp_path / "home")).faults
    wanted = {**RUN, "environment": "sql"}
    problem = client.post("/v1/runs", params={"spec": json.dumps(wanted)}, content=lines.encode(), headers=LINES).json()
    assert (problem["line"], problem["field"], problem["words"]) == (fault.line, fault.field, fault.words)
    assert fault.words == "'a' is the id of line 1 too"
    inline = client.post("/v1/runs", json={**wanted, "tasks": [task("a"), task("b"), task("a")]}).json()
    assert (inline["field"], "tasks.0 too" in inline["words"]) == ("tasks.2.id", True)
    assert service.store.runs().items == ()


@pytest.mark.usefixtures("ferries")
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (task("a", database="boats"), "world.database"),
        (task("a", version="0" * 64), "world.version"),
        (task("a", sails=3), "world.sails"),
        (task("a") | {"reference": {"gold_sql": "SELECT count(*) FROM sheep"}}, "reference.gold_sql"),
    ],
)
def test_a_task_that_its_environment_refuses_names_the_field(
    client: TestClient, wrong: dict[str, Any], field: str
) -> None:
    problem = client.post("/v1/runs", json={**RUN, "environment": "sql", "tasks": [wrong]}).json()
    assert (problem["field"], problem["words"].startswith("task 'a': ")) == (f"tasks.0.{field}", True)


def test_metrics_count_over_all_runs_and_endpoints(client: TestClient, service: Service) -> None:
    for _ in range(3):
        client.post("/v1/runs", json={**RUN, "tasks": [], "open": True})
    tally = Tally("here:1")
    tally.told("", "m", 'http://a/"v1', Trouble("server", "no"))
    service.store.exchange("here:1", tally.changed(1.0), [], ())
    lines = client.get("/metrics").text.splitlines()
    assert 'trajc_runs{finished="no"} 3' in lines
    assert 'trajc_endpoint_failures_total{endpoint="http://a/\\"v1"} 1' in lines


def test_a_run_whose_endpoint_is_dead_says_why_it_waits(client: TestClient, service: Service) -> None:
    run = client.post("/v1/runs", json={**RUN, "tasks": [], "open": True}).json()["id"]
    url, words, tally = RUN["base_urls"][0], "http://127.0.0.1:9/v1: connection refused", Tally("here:1")
    tally.told(run, "m", url, Trouble("connection", words))
    state = EndpointState(url, "here:1", "failing", 64, 0, 1, words, 0.0)
    service.store.exchange("here:1", tally.changed(service.store.now()), [state], ())
    progress = client.get(f"/v1/runs/{run}").json()["progress"]
    assert (progress["reason"], progress["endpoints"][0]["failures"]) == (f"no endpoint answers: {words}", 1)
    assert words in client.get(f"/runs/{run}").text


@pytest.mark.parametrize(
    ("what", "settings", "words"),
    [
        ("rollouts", {"TRAJC_HOME": "/dev/null/home"}, "the home folder /dev/null/home cannot be made"),
        (
            "compile",
            {"TRAJC_DATABASE_URL": "postgresql://a:hidden@127.0.0.1:1/x"},
            "the database of TRAJC_DATABASE_URL cannot be opened",
        ),
    ],
)
def test_a_worker_that_cannot_open_its_home_or_database_says_one_sentence(
    tmp_path: Path, what: str, settings: dict[str, str], words: str
) -> None:
    environ = {**os.environ, "TRAJC_HOME": str(tmp_path), "TRAJC_REDIS_URL": "redis://127.0.0.1:1/0", **settings}
    done = subprocess.run(
        [TRAJC, "worker", what], env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert [line for line in done.stderr.splitlines() if words not in line] == []


def endpoint(client: TestClient, base_url: str) -> dict[str, Any]:
    (found,) = [one for one in client.get("/v1/endpoints").json()["items"] if one["base_url"] == base_url]
    return dict(found)


def test_endpoints_are_added_changed_and_removed_and_no_key_is_shown(client_with: Any) -> None:
    client = client_with(model_key="hidden")
    added = client.post("/v1/endpoints", json={"base_url": "http://127.0.0.1:9/v1/", "slots": 8})
    assert (added.status_code, added.json()["base_url"]) == (201, "http://127.0.0.1:9/v1")
    (warning,) = added.json()["warnings"]
    assert "does not answer now" in warning
    client.post("/v1/endpoints", json={"base_url": "http://127.0.0.1:9/v1", "at_once": 4})
    there = endpoint(client, "http://127.0.0.1:9/v1")
    assert (there["slots"], there["at_once"], there["has_key"], there["removed"]) == (64, 4, True, False)
    gone = client.delete("/v1/endpoints", params={"base_url": "http://127.0.0.1:9/v1"})
    assert gone.status_code == 200
    assert endpoint(client, "http://127.0.0.1:9/v1")["removed"] is True
    assert "hidden" not in client.get("/v1/endpoints").text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"base_url": "http://user:hidden@a/v1"}, "carries credentials"),
        ({"base_url": "a/v1"}, "a base URL is http(s)"),
        ({"base_url": "http://a/v1", "api_key": "hidden"}, "Extra inputs are not permitted"),
        ({"base_url": "http://a/v1", "at_once": 0}, "greater than or equal to 1"),
    ],
)
def test_an_endpoint_that_carries_a_secret_or_is_none_is_refused(
    client: TestClient, body: dict[str, Any], words: str
) -> None:
    answer = client.post("/v1/endpoints", json=body)
    assert (answer.status_code, words in answer.json()["detail"], "hidden" in answer.text) == (422, True, False)


def test_an_endpoint_that_is_named_and_was_removed_is_said_to_be(client: TestClient, service: Service) -> None:
    url = RUN["base_urls"][0]
    service.store.put_endpoint(EndpointEntry(str(url), removed=True))
    detail = client.post("/v1/runs", json={**RUN, "open": True}).json()["detail"]
    again = f"`trajc endpoints add {url}`"
    assert detail == f"{url} was removed, and is asked by nobody until it is added again: {again}"


def test_an_endpoint_that_was_added_for_another_model_is_said_to_be(client: TestClient, service: Service) -> None:
    service.store.put_endpoint(EndpointEntry("http://127.0.0.1:9/v1", model="other"))
    detail = client.post("/v1/runs", json={"environment": "search", "model": "m", "open": True}).json()["detail"]
    words = "the endpoints that were added are not for the model 'm', but for other"
    assert detail == f"{words}: name one with --base-url (base_urls), or add one"


def test_an_endpoint_that_nobody_named_cannot_be_removed(client: TestClient) -> None:
    answer = client.delete("/v1/endpoints", params={"base_url": "http://nowhere/v1"})
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:trajc:problem:unknown-endpoint")


def test_a_recipe_s_teacher_is_asked_where_an_endpoint_was_added(client: TestClient) -> None:
    wanted = {"dataset": "taught", "recipe": {"target": "teacher", "teacher": {"model": "m"}}}
    assert client.post("/v1/compilations", json=wanted).json()["type"] == "urn:trajc:problem:no-endpoint"
    client.post("/v1/endpoints", json={"base_url": "http://127.0.0.1:9/v1"})
    assert client.post("/v1/compilations", json=wanted).status_code == 202
    client.delete("/v1/endpoints", params={"base_url": "http://127.0.0.1:9/v1"})
    assert client.post("/v1/compilations", json=wanted).json()["type"] == "urn:trajc:problem:no-endpoint"


def broken_by(error: Exception) -> TestClient:
    """A client of an app whose only page breaks so."""
    app = FastAPI()
    install(app)

    @app.get("/")
    def broken() -> None:
        raise error

    return TestClient(app)


def test_a_nul_in_a_path_or_a_name_is_no_fault_of_ours_on_postgresql() -> None:
    orig = psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    answer = broken_by(DataError("select", {}, orig)).get("/")
    words = "the request holds what the database cannot keep or look for: PostgreSQL text fields cannot contain NUL"
    assert (answer.status_code, answer.json()["detail"]) == (422, f"{words} (0x00) bytes")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            OperationalError("insert", {}, sqlite3.OperationalError("database or disk is full")),
            "database",
            "the database cannot be used now: database or disk is full; start it, or free some disk, then ask again",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "disk-full",
            "No space left on device: free some disk for TRAJC_HOME, then ask again",
        ),
        (
            OperationalError("insert", {}, sqlite3.OperationalError("database is locked")),
            "database",
            "the database cannot be used now: another process keeps it from being written; end that one (a backup, a "
            "sqlite3 shell?), or ask again later",
        ),
        (
            NoConnection("QueuePool limit of size 8 overflow 24 reached"),
            "database",
            "the database cannot be used now: too many wait for it; ask again later",
        ),
    ],
)
def test_a_full_disk_or_a_busy_database_is_said_to_be_one_and_is_no_fault_of_trajc(
    error: Exception, kind: str, words: str
) -> None:
    answer = broken_by(error).get("/")
    assert (answer.status_code, answer.json()["type"], answer.json()["detail"]) == (
        503,
        f"urn:trajc:problem:{kind}",
        words,
    )
