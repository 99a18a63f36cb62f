"""With a Redis and no worker, what waits says for whom and which command starts one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.cli.progress import bar
from api.service import Service
from api.settings import Settings
from envs.task import Task
from rollout.blobs import FolderBlobs
from rollout.runs import RunSpec, TaskRow
from rollout.store import Store

CALLS = "2 calls of a recipe's models wait and no worker takes them: start one with `trajc worker generation`"
STEPS = "1 steps of compilations wait and no worker takes them: start one with `trajc worker compile`"
ROLLOUTS = "1 rollouts wait and no worker takes them: start one with `trajc worker rollouts`"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_with(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Service]]:
    opened = []

    def make(**settings: Any) -> Service:
        known = Settings.model_validate({"home": tmp_path, **settings})
        blobs = FolderBlobs(known.blobs)
        opened.append(Store.open(known.database, blobs, clock=clock))
        return Service(known, opened[-1], blobs)

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def service(open_with: Callable[..., Service]) -> Service:
    return open_with(redis_url="redis://127.0.0.1:1/0")


def get(service: Service, path: str) -> Any:
    with TestClient(create_app(service), base_url="http://127.0.0.1") as http:
        answer = http.get(path)
        return answer.text if answer.headers["content-type"].startswith("text/html") else answer.json()


def asking(service: Service) -> str:
    """A compilation that a worker is at, and that waits for two model calls."""
    id = service.store.create_compilation({}, "taught").id
    service.store.set_compilation(id, "running", accounts={"read": 1, "built": 0, "calls": 2, "answered": 0})
    service.store.order("generation", {"gen_a": {"compilation": id}, "gen_b": {"compilation": id}}, compilation=id)
    return id


def test_a_compilation_that_asks_models_says_that_no_generation_worker_is_there(service: Service, clock: Clock) -> None:
    id = asking(service)

    def reason() -> str:
        return str(get(service, f"/v1/compilations/{id}")["reason"])

    assert reason() == "", "a worker may be about to take them"
    clock.now += 11
    assert reason() == CALLS
    assert [c["reason"] for c in get(service, "/v1/compilations")["items"]] == [CALLS]
    assert CALLS.replace("'", "&#39;") in get(service, "/")
    (call,) = service.store.claim("w", ("generation",), 1, clock.now, 60)
    assert reason() == "", "one is under way"
    service.store.finish(call, result={})
    assert reason() == "", "a worker was there a moment ago"
    clock.now += 11
    assert reason() == CALLS.replace("2 calls", "1 calls")
    service.store.cancel_compilation(id)
    assert reason() == ""


def test_a_compilation_that_nobody_begins_says_that_no_compile_worker_is_there(service: Service, clock: Clock) -> None:
    id = service.store.create_compilation({}, "d").id
    service.store.enqueue("compile_shard", {"compilation": id})
    clock.now += 11
    assert get(service, f"/v1/compilations/{id}")["reason"] == STEPS


def test_a_run_that_nobody_begins_says_that_no_rollout_worker_is_there(service: Service, clock: Clock) -> None:
    task = Task(id="t", environment="search", question="q", world={"corpus": "c"})
    id = service.store.create_run(RunSpec(environment="search", model="m"), [TaskRow(task)]).id

    def reason() -> str:
        return str(get(service, f"/v1/runs/{id}")["progress"]["reason"])

    assert reason() == ""
    clock.now += 11
    assert reason() == ROLLOUTS
    assert ROLLOUTS in get(service, f"/runs/{id}")
    service.store.pause(id)
    assert reason() == "paused: nothing more of it begins until it is resumed"
    service.store.cancel(id)
    assert reason() == ""


@pytest.mark.parametrize("settings", [{}, {"redis_url": "redis://127.0.0.1:1/0", "serve_works": True}])
def test_a_service_that_works_by_itself_names_no_worker(
    open_with: Callable[..., Service], clock: Clock, settings: dict[str, Any]
) -> None:
    service = open_with(**settings)
    id = asking(service)
    clock.now += 11
    assert get(service, f"/v1/compilations/{id}")["reason"] == ""


def test_without_a_terminal_the_reason_is_said_though_nothing_is_counted_yet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bar("comp_1", "model calls", quiet=0.0) as tell:
        tell(0, None, STEPS)
        tell(1, 2, CALLS)
    assert capsys.readouterr().err.splitlines() == [f"comp_1: {STEPS}", f"comp_1: 1 of 2 model calls; {CALLS}"]
