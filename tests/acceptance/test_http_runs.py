"""Runs over real HTTP: queued whole or not at all, watched, appended to, cancelled; and what bad input gets."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance import patient
from tests.acceptance.fleet import inline, until

TASKS = Path(__file__).parents[2] / "demo" / "search" / "tasks.jsonl"
QUESTION = {"id": "q", "question": "Who built Skerry Light?", "world": {"corpus": "halvard"}}
REFERENCE = {"answers": ["nobody"]}


def post(served: Any, path: str, body: Any, **how: Any) -> httpx.Response:
    return patient.post(served.trajc.url + path, json=body, **how)


def spec(served: Any, **fields: Any) -> dict[str, Any]:
    return {"environment": "search", "model": "oracle", "base_urls": [served.oracle], **fields}


def runs(served: Any) -> list[str]:
    return [run["id"] for run in served.trajc.get("/v1/runs?limit=1000")["items"]]


def ended(served: Any, id: str) -> dict[str, Any]:
    until(lambda: served.trajc.get(f"/v1/runs/{id}")["done"], f"run {id} has not ended")
    return dict(served.trajc.get(f"/v1/runs/{id}"))


def test_a_finished_run_closes_its_accounts(served: Any) -> None:
    assert served.run["accounts"] == {
        "submitted": 8,
        "queued": 0,
        "running": 0,
        "succeeded": 8,
        "failed": {},
        "cancelled": 0,
        "closes": True,
    }


def test_each_rollout_leads_to_its_trajectory_in_every_format(served: Any) -> None:
    rollouts = list(served.trajc.rollouts(served.run["id"]))
    assert len(rollouts) == 8
    one = served.trajc.get(f"/v1/rollouts/{rollouts[0]['id']}")
    assert one["scores"][0]["verdict"] == "right"
    whole, openai, atif = (
        served.trajc.get(f"/v1/rollouts/{one['id']}/trajectory?format={name}") for name in ("trajc", "openai", "atif")
    )
    assert whole["rollout"] == one["id"]
    assert [m["role"] for m in openai["messages"]][:3] == ["system", "user", "assistant"]
    assert [t["function"]["name"] for t in openai["tools"]] == ["search", "visit", "find"]
    assert atif["agent"]["model_name"] == "oracle"


def test_pages_by_cursor_miss_and_repeat_nothing(served: Any) -> None:
    whole = served.trajc.get(f"/v1/rollouts?run={served.run['id']}&limit=100")["items"]
    paged, cursor = [], ""
    while cursor is not None:
        page = served.trajc.get(
            f"/v1/rollouts?run={served.run['id']}&limit=3" + (f"&cursor={cursor}" if cursor else "")
        )
        paged += page["items"]
        cursor = page["next"]
    assert paged == whole


def test_tasks_are_appended_as_a_stream_until_the_run_is_sealed(served: Any) -> None:
    run = post(served, "/v1/runs", spec(served, open=True)).json()
    assert run["state"] == "open"
    lines = "".join(json.dumps({**QUESTION, "id": f"q{i}", "reference": REFERENCE}) + "\n" for i in range(3))
    appended = patient.post(f"{served.trajc.url}/v1/runs/{run['id']}/tasks", content=lines).json()
    assert appended["queued"] == 3
    assert post(served, f"/v1/runs/{run['id']}/seal", None).json()["state"] == "sealed"
    late = patient.post(f"{served.trajc.url}/v1/runs/{run['id']}/tasks", content=lines)
    assert late.status_code == 409
    assert late.json()["detail"] == f"run {run['id']} is sealed; make a new run for more tasks."


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        ("{not json", "", "not JSON"),
        ("[1]", "", "a task is a JSON object, not list"),
        (json.dumps({**QUESTION, "question": ""}), "question", "at least 1 character"),
        (json.dumps({**QUESTION, "answer": "x"}), "answer", "no such field; a task has"),
        (json.dumps({**QUESTION, "environment": "sql"}), "environment", "the task is for 'sql', the run for 'search'"),
        (json.dumps({**QUESTION, "world": {"corpus": "halvrad"}}), "world.corpus", "halvard"),
    ],
)
def test_a_broken_line_is_named_and_queues_nothing(served: Any, line: str, field: str, words: str) -> None:
    before = runs(served)
    good = json.dumps({**QUESTION, "reference": REFERENCE})
    answer = patient.post(
        f"{served.trajc.url}/v1/runs",
        params={"spec": json.dumps(spec(served))},
        content=f"{good}\n\n{line}\n{good}\n",
        headers={"Content-Type": "application/x-ndjson"},
    )
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (problem["line"], problem["field"]) == (3, field)
    assert words in problem["detail"]
    assert problem["detail"].startswith("line 3, ")
    assert runs(served) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"environment": "serach"}, "unknown environment 'serach'; known: search, sql, swe."),
        ({"model": "orakel"}, "unknown model 'orakel'; known: oracle. Endpoint: "),
        ({"base_urls": ["http://user:secret@127.0.0.1/v1"]}, "carries credentials"),
        ({"samples": 0}, "field samples: "),
        ({"sample": 3}, "a run has base_urls, calls_at_once, environment, "),
        ({"task_set": "nothing"}, "no task set 'nothing'"),
        ({}, "no tasks: give tasks"),
    ],
)
def test_a_wrong_run_is_told_the_way_out(served: Any, change: dict[str, Any], words: str) -> None:
    before = runs(served)
    answer = post(served, "/v1/runs", spec(served, **change))
    assert answer.status_code in (404, 422)
    assert words in answer.json()["detail"]
    assert "secret" not in answer.text
    assert runs(served) == before


def test_the_same_idempotency_key_queues_once(served: Any) -> None:
    body = spec(served, tasks=[{**QUESTION, "reference": REFERENCE}])
    key = {"Idempotency-Key": "once"}
    first, again = (post(served, "/v1/runs", body, headers=key).json() for _ in range(2))
    assert first["id"] == again["id"]
    other = post(served, "/v1/runs", {**body, "samples": 2}, headers=key)
    assert other.status_code == 409
    assert "was used for another request" in other.json()["detail"]


def test_a_task_set_is_kept_whole_and_queued_by_name(served: Any) -> None:
    lines = "".join(json.dumps({**QUESTION, "environment": "search", "id": f"s{i}"}) + "\n" for i in range(2))
    url = f"{served.trajc.url}/v1/task-sets/two"
    made, again = (patient.put(url, content=lines).json() for _ in range(2))
    assert (made["size"], made["version"]) == (2, 1)
    assert again == made
    broken = patient.put(url, content=lines + "{}")
    assert (broken.status_code, broken.json()["line"]) == (422, 3)
    assert served.trajc.get("/v1/task-sets/two") == made
    run = post(served, "/v1/runs", spec(served, task_set="two", samples=2)).json()
    assert run["accounts"]["submitted"] == 4


def test_a_cancelled_run_ends_with_closed_accounts(served: Any) -> None:
    with served.trajc.oracle(TASKS, "--latency", "60") as slow:
        run = post(served, "/v1/runs", spec(served, base_urls=[slow], tasks=inline(TASKS), samples=5)).json()
        post(served, f"/v1/runs/{run['id']}/cancel", None)
        accounts = ended(served, run["id"])["accounts"]
    assert accounts["closes"]
    assert (accounts["submitted"], accounts["cancelled"]) == (40, 40)
    assert accounts["queued"] == accounts["running"] == 0


def test_a_dead_endpoint_is_a_failure_by_class_and_can_be_retried(served: Any) -> None:
    """Paused before anything is claimed, so that what is shown does not hang on time."""
    run = post(served, "/v1/runs", spec(served, open=True, max_attempts=1)).json()
    assert post(served, f"/v1/runs/{run['id']}/pause", None).json()["paused"]
    unknown = {**QUESTION, "id": "nobody-knows-this", "question": "A question that the oracle was never told?"}
    patient.post(f"{served.trajc.url}/v1/runs/{run['id']}/tasks", content=json.dumps(unknown))
    assert served.trajc.get(f"/v1/runs/{run['id']}")["accounts"]["queued"] == 1
    post(served, f"/v1/runs/{run['id']}/seal", None)
    post(served, f"/v1/runs/{run['id']}/resume", None)
    done = ended(served, run["id"])
    assert done["accounts"]["failed"] == {"model_error": 1}
    (rollout,) = served.trajc.rollouts(run["id"])
    assert rollout["failure"] == "model_error"
    assert "404" in rollout["error"] or "no task" in rollout["error"]
    retried = patient.post(f"{served.trajc.url}/v1/runs/{run['id']}/retry?failure=model_error").json()
    assert retried["queued"] == 1
    assert ended(served, run["id"])["accounts"]["closes"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/runs/run_x", "run 'run_x'"),
        ("/v1/rollouts/ro_x", "no rollout 'ro_x'"),
        ("/v1/environments/web", "unknown environment 'web'; known: swe, search, sql."),
        ("/v1/compilations/comp_x", "comp_x"),
        ("/v1/rollouts?status=lost", "query.status"),
        ("/v1/nothing", "There is nothing at /v1/nothing"),
    ],
)
def test_what_is_not_there_is_a_problem_with_words(served: Any, path: str, words: str) -> None:
    answer = patient.get(served.trajc.url + path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    assert words in answer.json()["detail"]
