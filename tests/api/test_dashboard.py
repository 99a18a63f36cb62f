"""The dashboard: what an agent wrote stays text; the longest trajectory opens; the pages need no script."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.dashboard.filters import ago, cut, thousands
from api.dashboard.rollout_page import CHARACTERS, MESSAGES
from api.service import Service
from envs.evidence import FULL, Evidence
from envs.score import Score, Submission
from envs.task import Task
from envs.tool import ToolResult
from rollout.ids import trajectory_id
from rollout.runs import RunSpec, TaskRow
from rollout.trajectory import Message, ModelCall, ToolCall, ToolStep, Trajectory

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&lt;"


def finished(service: Service, messages: tuple[Message, ...] = (), steps: tuple[ToolStep, ...] = ()) -> str:
    """A rollout that ended with these messages; its id."""
    task = Task(id=HOSTILE, environment="search", question=HOSTILE, world={"corpus": "c"})
    run = service.store.create_run(RunSpec(environment="search", model=HOSTILE, name=HOSTILE), [TaskRow(task)])
    (claim,) = service.store.claim("w", ("rollout",), 1, service.store.now(), 60)
    calls = tuple(
        ModelCall(input=((0, i),), output=i, raw="{}") for i, m in enumerate(messages) if m.role == "assistant"
    )
    trajectory = Trajectory(
        id=trajectory_id(claim.job, claim.attempt),
        run=run.id,
        rollout=claim.job,
        attempt=claim.attempt,
        task=task,
        model=HOSTILE,
        messages=messages,
        calls=calls,
        steps=steps,
        submission=Submission(kind="text", text=HOSTILE),
        stop="answered",
    )
    score = Score(scorer=HOSTILE, version="1", value=0.0, verdict="wrong", words=HOSTILE)
    assert service.store.finish(claim, trajectory, score) == "applied"
    return claim.job


def hostile_conversation() -> tuple[tuple[Message, ...], tuple[ToolStep, ...]]:
    call = ToolCall(id="1", name=HOSTILE, arguments=HOSTILE)
    messages = (
        Message(role="system", content=HOSTILE),
        Message(role="user", content=HOSTILE),
        Message(role="assistant", content=HOSTILE, reasoning=HOSTILE, tool_calls=(call,)),
        Message(role="tool", content=HOSTILE, tool_call_id="1"),
    )
    piece = Evidence(
        kind="document", source=HOSTILE, version="1", how="opened", coverage=FULL, blob=None, title=HOSTILE
    )
    step = ToolStep(call=0, tool_call=call, message=3, result=ToolResult(text=HOSTILE, evidence=(piece,)))
    return messages, (step,)


def test_a_script_in_an_observation_stays_text(service: Service, client: TestClient) -> None:
    id = finished(service, *hostile_conversation())
    run = service.store.rollout(id).run
    for path in ("/", f"/runs/{run}", "/rollouts", f"/rollouts/{id}"):
        page = client.get(path)
        assert page.status_code == 200
        assert re.findall(r"<script[^>]*>", page.text) == ['<script src="/static/follow.js" defer>']
        assert "<img" not in page.text
        assert "&lt;script&gt;document.title" in page.text


def test_a_whole_message_is_plain_text(service: Service, client: TestClient) -> None:
    id = finished(service, *hostile_conversation())
    answer = client.get(f"/rollouts/{id}/messages/3")
    assert (answer.text, answer.headers["content-type"]) == (HOSTILE, "text/plain; charset=utf-8")
    assert client.get(f"/rollouts/{id}/messages/4").status_code == 404


def test_the_longest_trajectory_opens_a_stretch_at_a_time(service: Service, client: TestClient) -> None:
    long = "x" * (CHARACTERS + 1234)
    id = finished(service, tuple(Message(role="user", content=long) for _ in range(2 * MESSAGES + 50)))
    first = client.get(f"/rollouts/{id}").text
    assert first.count("<article") == MESSAGES
    assert "1\u202f234 characters more" in first
    assert f"Messages 1 to {MESSAGES} of {2 * MESSAGES + 50}" in first
    last = client.get(f"/rollouts/{id}?first={2 * MESSAGES}").text
    assert last.count("<article") == 50
    assert "next page" not in last


def test_failed_rollouts_are_shown_by_class_and_tried_again_at_a_press(service: Service, client: TestClient) -> None:
    task = Task(id="t", environment="search", question="q", world={"corpus": "c"})
    run = service.store.create_run(RunSpec(environment="search", model="m", max_attempts=1), [TaskRow(task)])
    (claim,) = service.store.claim("w", ("rollout",), 1, service.store.now(), 60)
    service.store.fail(claim, "model_error", "the endpoint said 404")
    page = client.get(f"/runs/{run.id}").text
    assert "model_error" in page
    assert "the endpoint said 404" in page
    pressed = client.post(f"/runs/{run.id}/retry?failure=model_error", follow_redirects=False)
    assert (pressed.status_code, pressed.headers["location"]) == (303, f"/runs/{run.id}")
    assert service.store.run(run.id).accounts.queued == 1


def test_a_run_is_held_and_ended_at_a_press(service: Service, client: TestClient) -> None:
    run = service.store.create_run(RunSpec(environment="search", model="m"), sealed=False)
    client.post(f"/runs/{run.id}/pause")
    assert service.store.run(run.id).paused
    client.post(f"/runs/{run.id}/resume")
    assert not service.store.run(run.id).paused
    client.post(f"/runs/{run.id}/cancel")
    assert service.store.run(run.id).cancel_requested
    assert client.post(f"/runs/{run.id}/explode").status_code == 422


def test_a_compilation_is_ended_at_a_press(service: Service, client: TestClient) -> None:
    id = service.store.create_compilation({}, "d").id
    service.store.set_compilation(id, "running", accounts={"read": 1, "built": 1, "calls": 40, "answered": 12})
    page = client.get("/").text
    assert "12 of 40 model calls answered" in page
    assert f'action="/compilations/{id}/cancel"' in page
    pressed = client.post(f"/compilations/{id}/cancel", follow_redirects=False)
    assert (pressed.status_code, pressed.headers["location"]) == (303, "/")
    assert service.store.compilation(id).state == "cancelled"
    assert "/cancel" not in client.get("/").text


@pytest.mark.parametrize("path", ["/runs/run_x", "/rollouts/ro_x", "/datasets/x"])
def test_a_page_of_nothing_is_a_404(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_values_look_as_people_write_them(service: Service) -> None:
    assert thousands(1234567) == "1\u202f234\u202f567"
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc … 1 characters more"
    assert ago(service.store.now() - 7200) == "2 h ago"


def test_what_the_first_page_leaves_out_is_said(service: Service, client: TestClient) -> None:
    words = ("Of the runs on this page.", "(the newest 10; all at")
    for n in range(51):
        service.store.create_run(RunSpec(environment="search", model="m"))
        if n < 11:
            service.store.create_compilation({}, f"d{n}")
        if n == 9:
            assert not any(said in client.get("/").text for said in words)
    assert all(said in client.get("/").text for said in words)


@pytest.mark.needs("chromium")
def test_a_browser_runs_our_script_and_not_the_agents(service: Service, tmp_path: Path, serve_app: Any) -> None:
    id = finished(service, *hostile_conversation())
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--dump-dom"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with serve_app(service) as url:
        command = ["chromium", *options, f"--user-data-dir={tmp_path}", f"{url}/rollouts/{id}"]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    (title,) = re.findall(r"<title>(.*?)</title>", dom)
    assert title.endswith("· trajc")  # the hostile script would have made it `owned`
    assert "&lt;script&gt;" in dom


def test_a_browser_is_shown_a_page_where_something_is_not_there_and_a_program_json(client: TestClient) -> None:
    page = client.get("/rollouts", params={"run": HOSTILE}, headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "<h1>Not found" in page.text
    assert "&lt;script&gt;document.title" in page.text
    assert client.get("/runs/nope").headers["content-type"] == "application/problem+json"
    assert client.get("/v1/runs/nope", headers={"Accept": "text/html"}).json()["status"] == 404
    assert "<h1>Not found" in client.get("/nowhere", headers={"Accept": "text/html"}).text
