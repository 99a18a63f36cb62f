"""What the command says of input that is nothing, too much or not what it takes."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import typer
from fastapi.testclient import TestClient
from pydantic import SecretStr
from typer.testing import CliRunner

from api.cli import app
from api.cli.compile_commands import check_something
from api.cli.run_commands import finish, follow
from api.cli.terminal import goes_on
from api.cli.validate import FileFault, check_file
from api.client import Client
from api.service import Service, open_service
from api.settings import Settings
from api.task_lines import TaskFault, parse_task
from envs.task import Task
from rollout.accounts import Accounts
from rollout.runs import RunSpec, TaskRow


def said(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.stderr


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_task_file_without_tasks_queues_no_empty_run(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(content)
    words = f"trajc: {file}: there is no task in it; nothing was queued\n"
    assert said("run", str(file), "--env", "search", "--model", "m") == (2, words)


def test_a_column_without_a_name_is_not_passed_over(tmp_path: Path) -> None:
    words = "trajc: --column title: it takes FIELD=COLUMN, such as text=contents\n"
    assert said("tasks", "index", "wiki", str(tmp_path), "--column", "title") == (2, words)


def test_a_table_too_large_to_keep_is_told_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAJC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRAJC_ENVIRONMENTS", '{"sql": {"table_bytes": 100}}')
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "orders.csv").write_text("id\n" + "12345\n" * 100)
    (folder / "notes.txt").write_text("hello")
    loaded = CliRunner().invoke(app, ("tasks", "load-db", "shop", str(folder)))
    assert loaded.stderr.splitlines() == [
        "left out notes.txt: not a data file",
        "orders is too large to keep as evidence: its text has 844 bytes (`table_bytes` of the SQL settings)",
    ]
    made = json.loads(CliRunner().invoke(app, ("tasks", "load-db", "shop", str(folder), "--json")).stdout)
    assert made["too_large"] == {"orders": 844}
    assert made["left_out"] == [{"name": "notes.txt", "why": "not a data file"}]


def test_validation_refuses_a_line_that_the_service_would_refuse(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text("x" * 2000)
    found = check_file(file, Settings(home=tmp_path, max_task_bytes=1024))
    assert found.faults == (FileFault(str(file), 1, "", "longer than 1024 bytes (TRAJC_MAX_TASK_BYTES)"),)


def test_a_version_without_examples_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    check_something({"accounts": {"published": 1, "trajectories_dropped": {"oracle": 2}}})
    for dropped in ({"oracle": 2}, {}):
        with pytest.raises(typer.Exit) as ended:
            check_something({"accounts": {"published": 0, "trajectories_dropped": dropped}})
        assert ended.value.exit_code == 3, "no training follows on nothing"
    assert capsys.readouterr().err.splitlines() == [
        "trajc: no example was published: 2 come from the oracle policy, which --include-oracle takes",
        "trajc: no example was published",
    ]


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/rollouts", "/v1/compilations"])
@pytest.mark.parametrize("cursor", ["garbage", "5", "%00", "run_1"])
def test_a_cursor_of_somebody_else_is_refused_and_not_an_empty_page(client: TestClient, path: str, cursor: str) -> None:
    answer = client.get(f"{path}?cursor={cursor}")
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:trajc:problem:bad-cursor")


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/compilations"])
def test_a_body_larger_than_the_setting_is_refused(client_with: Callable[..., TestClient], path: str) -> None:
    answer = client_with(max_body_bytes=1024).post(path, content=b" " * 1025)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:trajc:problem:body-too-large")


def test_a_name_that_no_folder_could_have_is_refused_in_words(client: TestClient) -> None:
    words = "Value error, a dataset's name has letters, digits, '.', '_' and '-', at most 96; '../d' does not"
    answer = client.post("/v1/compilations", json={"dataset": "../d"})
    assert (answer.status_code, answer.json()["detail"]) == (422, f"body.dataset: {words}")


def test_a_compilation_without_a_dataset_names_the_field(client: TestClient) -> None:
    answer = client.post("/v1/compilations", json={"recipe": {}})
    assert (answer.status_code, answer.json()["detail"]) == (422, "body.dataset: Field required")


@pytest.mark.parametrize("field", ["name", "model"])
def test_a_nul_that_no_database_keeps_is_refused(client: TestClient, field: str) -> None:
    wanted = {"environment": "search", "model": "m", "base_urls": ["http://127.0.0.1:1/v1"], "open": True}
    answer = client.post("/v1/runs", json={**wanted, field: "a\0b"})
    assert (answer.status_code, answer.json()["faults"][0]["field"]) == (422, field)


def test_a_task_id_with_a_control_character_is_refused() -> None:
    with pytest.raises(TaskFault) as e:
        parse_task({"id": "a\0b", "environment": "search", "question": "q"})
    assert e.value.field == "id"


def test_a_filter_that_is_misspelt_is_refused_and_does_not_filter_nothing(client: TestClient) -> None:
    answer = client.get("/v1/rollouts?state=failed")
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "GET /v1/rollouts has no query parameter 'state'; it has cursor, environment, failure, limit, run, status",
    )
    assert client.get("/v1/rollouts?status=failed&limit=1").status_code == 200
    assert client.post("/v1/runs/run_x/retry?failure=model_error&failure=task_error").status_code == 404


def test_a_task_set_without_tasks_is_refused(client: TestClient) -> None:
    answer = client.put("/v1/task-sets/empty", content=b"\n")
    assert (answer.status_code, answer.json()["detail"]) == (422, "there is no task in it: give at least one")
    assert client.get("/v1/task-sets").json()["items"] == []


@pytest.mark.parametrize(
    ("url", "named"), [("nonsense", "'nonsense'"), ("ftp://a:secret@b", "one with credentials"), ("x?k=secret", "'x'")]
)
def test_a_base_url_that_is_none_is_named_without_its_secret(client: TestClient, url: str, named: str) -> None:
    wanted = {"environment": "search", "model": "m", "base_urls": [url], "open": True}
    detail = client.post("/v1/runs", json=wanted).json()["detail"]
    assert f"a base URL is http(s)://host[:port]/path, not {named};" in detail
    assert "secret" not in detail


def test_a_compilation_of_a_run_that_goes_on_says_what_is_left_out(service: Service, client: TestClient) -> None:
    task = Task(id="t", environment="search", question="q", world={"corpus": "c"})
    run = service.store.create_run(RunSpec(environment="search", model="m", samples=3), [TaskRow(task)]).id
    made = client.post("/v1/compilations", json={"dataset": "d", "run": run}).json()
    assert made["warnings"] == [f"run {run} is not done: what ends from now on is left out, 3 of 3 rollouts"]
    service.store.cancel(run)
    assert client.post("/v1/compilations", json={"dataset": "d", "run": run}).json()["warnings"] == []


def test_a_compilation_that_published_nothing_links_to_no_dataset(service: Service, client: TestClient) -> None:
    id = service.store.create_compilation({}, "gone").id
    service.store.set_compilation(id, "failed", error="for this test")
    assert "gone" in client.get("/").text
    assert "/datasets/gone" not in client.get("/").text


@pytest.mark.parametrize(
    ("words", "code", "said_of_it"),
    [
        (("serve", "--port", "99999"), 2, "Invalid value for '--port'"),
        (("oracle", __file__, "--port", "99999"), 2, "Invalid value for '--port'"),
        (("runs", "list", "--url", "http://[::bad"), 1, "trajc: 'http://[::bad' is no address of a service"),
        (("compile", "nosuch.yaml"), 2, "trajc: nosuch.yaml: no such file"),
        (("compile", "a.yaml", "run_x"), 2, "trajc: a.yaml: a recipe is compiled by itself, and names its runs"),
        (("run", "/tmp", "--env", "sql", "--model", "m"), 2, "trajc: /tmp: a folder, not a task file"),
        (("inspect", "x"), 1, "nor a rollout (ro_...), nor a compilation (comp_...)"),
        (("verify", "x", "--tokenizer", "/nosuch"), 1, "trajc: tokenizer: '/nosuch' is neither"),
        (("verify", "/tmp"), 1, "and no manifest.json in the folder /tmp; known: none yet"),
    ],
)
def test_what_is_typed_wrong_is_named_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said_of_it: str
) -> None:
    monkeypatch.setenv("TRAJC_HOME", str(tmp_path))
    status, told = said(*words)
    assert (status, said_of_it in told, "Traceback" in told) == (code, True, False), told


def test_a_recipe_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(b"runs: [\xff]")
    assert said("compile", str(recipe)) == (1, f"trajc: {recipe}: a recipe is UTF-8 text, and byte 7 is none\n")


def test_an_oracle_whose_port_is_taken_says_so(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text('{"id": "t", "environment": "search", "question": "q", "reference": {"answers": ["a"]}}\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = f"cannot listen on 127.0.0.1:{port}: Address already in use; --port names another, or 0"
        assert said("oracle", str(tasks), "--port", str(port)) == (2, f"trajc: {words}\n")


def test_a_command_that_is_asked_to_end_ends_as_by_ctrl_c_and_not_in_the_middle() -> None:
    """What it started (sandboxes, for one) is ended by it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [str(Path(sys.executable).parent / "trajc"), "runs", "list", "--url", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
            silent.accept()
            running.terminate()
            assert (running.wait(120), running.stderr and running.stderr.read()) == (130, "trajc: interrupted\n")


def test_a_command_without_the_key_names_the_setting_that_holds_it(
    tmp_path: Path, serve_app: Callable[[Service], AbstractContextManager[str]]
) -> None:
    with open_service(Settings(home=tmp_path, api_keys=(SecretStr("sesame"),))) as service, serve_app(service) as url:
        words = f"trajc: the service at {url} wants one of its TRAJC_API_KEYS: set TRAJC_KEY to it\n"
        assert said("runs", "list", "--url", url) == (1, words)


@pytest.mark.parametrize("named", [("../x",), ("a/b",), ("a?b",), ("",), ("d", "--version", "..")])
def test_a_dataset_that_could_be_none_is_named_as_it_was_typed(named: tuple[str, ...]) -> None:
    words = f"trajc: {named[-1]!r} names no dataset and no version: they have letters, digits, '.', '_' and '-'\n"
    assert said("pull", *named) == (1, words)


def test_a_run_that_was_cancelled_meanwhile_does_not_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    accounts = Accounts(submitted=3, succeeded=1, cancelled=2).as_dict()
    with pytest.raises(typer.Exit) as ended:
        finish({"id": "run_1", "accounts": accounts}, as_json=True, waited=True)
    finish({"id": "run_1", "accounts": accounts}, as_json=True, waited=False)
    assert (ended.value.exit_code, capsys.readouterr().err) == (3, "trajc: 2 rollouts were cancelled\n")


def test_who_stops_waiting_is_told_that_the_work_goes_on(
    service: Service, serve_app: Callable[[Service], AbstractContextManager[str]]
) -> None:
    run = service.store.create_run(RunSpec(environment="search", model="m")).id
    with serve_app(service) as url:
        command = [str(Path(sys.executable).parent / "trajc"), "compile", run, "--url", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr is not None
            id = waiting.stderr.readline().split()[1]
            waiting.send_signal(signal.SIGTERM)  # as SIGINT, which shells take from what runs in the background
            words = f"trajc: interrupted; {id} goes on in the service: `trajc cancel {id}` ends it\n"
            assert (waiting.wait(120), waiting.stderr.read()) == (130, words)


def test_who_waits_while_the_service_ends_is_told_that_nothing_is_lost(
    service: Service, serve_app: Callable[[Service], AbstractContextManager[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run = service.store.create_run(RunSpec(environment="search", model="m"), sealed=False).id
    with serve_app(service) as url:
        pass
    with Client(url) as client, pytest.raises(typer.Exit) as ended, goes_on(run):
        follow(client, run)
    kept = f"{run} is kept and goes on as the service does: `trajc inspect {run}` tells how it stands\n"
    words = capsys.readouterr().err
    assert (ended.value.exit_code, words.startswith(f"trajc: no trajc service answers at {url}")) == (1, True)
    assert words.endswith(kept)
