"""The command against a real service: what it prints, how it exits, and what it says where something is missing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import patient

TRAJC = Path(sys.executable).parent / "trajc"
GOOD = {"id": "q", "question": "Who built Skerry Light?", "world": {"corpus": "halvard"}}


def test_run_names_file_line_and_field_and_queues_nothing(served: Any, tmp_path: Path) -> None:
    before = served.trajc.get("/v1/runs?limit=1000")["items"]
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(json.dumps(GOOD) + "\n" + json.dumps({**GOOD, "split": 3}) + "\n")
    done = served.trajc("run", tasks, "--env", "search", "--model", "oracle", "--base-url", served.oracle, code=1)
    assert done.stdout == ""
    assert done.stderr == f"trajc: {tasks}:2: split: Input should be a valid string; nothing was queued\n"
    assert served.trajc.get("/v1/runs?limit=1000")["items"] == before


def test_run_says_by_class_what_failed(served: Any, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(json.dumps({**GOOD, "question": "What was never asked?"}) + "\n")
    done = served.trajc(
        "run", tasks, "--env", "search", "--model", "oracle", "--base-url", served.oracle,
        "--max-attempts", "1", code=3,
    )  # fmt: skip
    assert "1 submitted = 0 queued + 0 running + 0 succeeded + 1 failed + 0 cancelled" in done.stdout
    assert "rollouts failed: 1 model_error" in done.stderr


def test_inspect_shows_a_rollout_and_its_run(served: Any) -> None:
    rollout = next(served.trajc.rollouts(served.run["id"]))
    shown = served.trajc("inspect", rollout["id"]).stdout
    assert shown.startswith(f"{rollout['id']} {rollout['task_id']}: succeeded")
    assert "> search(" in shown
    assert served.trajc.json("inspect", rollout["id"])["trajectory"]["rollout"] == rollout["id"]
    assert "8 submitted" in served.trajc("inspect", served.run["id"]).stdout
    assert "neither a run" in served.trajc("inspect", "x", code=1).stderr


@pytest.mark.parametrize(
    "words",
    [
        ("run", "tasks.jsonl", "--env", "search", "--model", "m"),
        ("compile", "run_x"),
        ("pull", "demo"),
        ("inspect", "run_x"),
    ],
)
def test_without_a_service_the_command_says_how_to_start_one(
    new_trajc: Callable[[], Any], tmp_path: Path, words: tuple[str, ...]
) -> None:
    trajc = new_trajc()
    (tmp_path / "tasks.jsonl").write_text("{}\n")
    done = trajc(*(str(tmp_path / w) if w.endswith(".jsonl") else w for w in words), code=1)
    assert f"no trajc service answers at {trajc.url}" in done.stderr
    assert "start one with `trajc serve`" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_that_cannot_be_read_are_named_without_their_value(new_trajc: Callable[[], Any]) -> None:
    trajc = new_trajc()
    trajc.environ |= {"TRAJC_PORT": "many", "TRAJC_BASE_URL": "localhost:8000"}
    done = trajc("doctor", code=2)
    assert "TRAJC_PORT: " in done.stderr
    assert "TRAJC_BASE_URL: " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_keys_the_service_opens_to_this_machine_only(new_trajc: Callable[[], Any]) -> None:
    done = new_trajc()("serve", "--host", "0.0.0.0", code=2)
    assert "without API keys the service listens on loopback only, not on 0.0.0.0" in done.stderr


def test_doctor_says_for_each_thing_how_to_get_it(new_trajc: Callable[[], Any]) -> None:
    trajc = new_trajc()
    trajc.environ |= {"DOCKER_HOST": "unix:///nowhere/docker.sock", "TRAJC_BASE_URL": "http://127.0.0.1:9/v1"}
    done = trajc("doctor", "--json", code=1)
    found = {f["what"]: f for f in json.loads(done.stdout)}
    assert found["python"]["state"] == found["tokenizer"]["state"] == "ok"
    assert found["sandbox"]["state"] == found["model endpoint"]["state"] == "missing"
    assert "apt install docker.io" in found["sandbox"]["way_out"]
    assert "TRAJC_BASE_URL" in found["model endpoint"]["way_out"]


def test_validate_lists_every_fault_of_a_file(served: Any, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    good = {**GOOD, "environment": "search"}
    lines: list[Any] = [good, {**good, "id": ""}, good, {**good, "id": "r", "question": None}]
    tasks.write_text("".join(json.dumps(line) + "\n" for line in lines) + "nonsense\n")
    faults = served.trajc.json("tasks", "validate", tasks, code=1)["faults"]
    assert [(f["line"], f["field"]) for f in faults] == [(2, "id"), (3, "id"), (4, "question"), (5, "")]
    assert faults[1]["words"] == "'q' is the id of line 1 too"


def test_a_service_that_is_told_to_end_ends_in_good_order(new_trajc: Callable[[], Any]) -> None:
    """With a reader of events connected, who would keep it waiting."""
    trajc = new_trajc()
    with trajc.serving() as running, patient.stream("GET", f"{trajc.url}/v1/events") as events:
        next(events.iter_lines())
        running.send_signal(signal.SIGTERM)
        assert running.wait(120) == 0


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, api.cli; heavy = {'fastapi', 'sqlalchemy', 'pyarrow', 'duckdb', 'httpx', 'openai', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "[]\n"
    shown = subprocess.run([TRAJC, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(word in shown for word in ("serve", "run", "compile", "verify", "pull", "oracle", "doctor", "tasks"))
