"""What the command says of input that is nothing, too much or not what it takes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api.cli import app
from api.cli.compile_commands import check_something
from api.cli.validate import FileFault, check_file
from api.settings import Settings
from api.task_lines import TaskFault, parse_task


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
    assert client.get(f"{path}?cursor=run_{'0' * 32}").status_code == 200


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/compilations"])
def test_a_body_larger_than_the_setting_is_refused(client_with: Callable[..., TestClient], path: str) -> None:
    answer = client_with(max_body_bytes=1024).post(path, content=b" " * 1025)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:trajc:problem:body-too-large")


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
