"""Model calls of recipes on Celery workers: killed, resumed and cancelled, and each reply paid for once."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from api.oracle.chance import Chance
from envs.swe.make.folder import Edit, make_task_from_folder
from rollout.blobs import FolderBlobs
from rollout.schema import jobs
from tests.acceptance.fleet import DEMO, Fleet, Process, fleet, inline, told, until
from tests.acceptance.gate import Gate, first, gate

pytestmark = [pytest.mark.needs("redis"), pytest.mark.timeout(600)]
SAMPLES, SEED, WRONG = 2, 13, 0.5
"""A seed by which tasks have none, one and two right samples."""


@dataclass
class Site:
    """An installation with workers of each kind, and a run of the demo's SQL tasks that are all right."""

    fleet: Fleet
    run: str
    generation: Process

    def replace_worker(self, concurrency: int, half_way: Gate) -> None:
        """The one that makes model calls is killed, and another one starts."""
        self.generation.kill()
        half_way.open()
        self.generation = self.fleet.worker("generation", concurrency, f"generation-{len(self.fleet.started)}")
        self.generation.up()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet(folder, lease_seconds="12", poll_seconds="3", shutdown_seconds="2") as it:
        for process in (it.redis(), it.serve()):
            process.up()
        workers = [it.worker(kind, 2, kind) for kind in ("rollouts", "compile", "generation")]
        for worker in workers:
            worker.up()
        yield Site(it, solved(it, "sql", sql_tasks()), workers[-1])


def sql_tasks() -> Path:
    return DEMO / "sql" / "tasks.jsonl"


def swe_tasks(it: Fleet) -> Path:
    """The demo's planted bugs."""
    path = it.home / "swe.jsonl"
    with path.open("w") as lines:
        for described in sorted((DEMO / "swe").glob("*/task.json")):
            wanted = json.loads(described.read_text())
            bug = [Edit(**edit) for edit in wanted.pop("bug")]
            task, reference = make_task_from_folder(
                described.parent / "repository",
                bug,
                FolderBlobs(it.home / "blobs"),
                repository=described.parent.name,
                **wanted,
            )
            lines.write(json.dumps({**task.model_dump(mode="json"), "reference": reference.data}) + "\n")
    return path


def solved(it: Fleet, environment: str, tasks: Path) -> str:
    """A run of these tasks, all of them right."""
    solver, url = it.oracle(tasks, name=f"solver-{environment}")
    solver.up()
    wanted = {"environment": environment, "model": "oracle", "base_urls": [url], "tasks": inline(tasks)}
    run = it.post("/v1/runs", wanted)["id"]
    until(lambda: it.get(f"/v1/runs/{run}")["done"], "the run is not done")
    assert it.get(f"/v1/runs/{run}")["accounts"]["succeeded"] == len(inline(tasks))
    solver.end()
    return str(run)


def pinned(it: Fleet, run: str) -> Path:
    """The run's tasks with what pinning filled in: a teacher gives the rows of the gold query."""
    path = it.home / "pinned.jsonl"
    with it.store() as store, path.open("w") as lines:
        for found in store.candidates(runs=[run]):
            assert found.reference is not None
            task = found.trajectory.task.model_dump(mode="json")
            lines.write(json.dumps(task | {"reference": found.reference.model_dump(mode="json")["data"]}) + "\n")
    return path


def taught(run: str, teacher: str, **parts: Any) -> dict[str, Any]:
    policy = {"model": "oracle", "base_urls": [teacher], "samples": SAMPLES, "sampling": {"seed": SEED}}
    whole = {"runs": [run], "include_oracle": True, "target": "teacher", "teacher": policy, "near_duplicates": None}
    return {"dataset": "taught", "recipe": whole | parts}


def right_samples(tasks: Path) -> dict[str, int]:
    """Of each task, how many samples the oracle does not get wrong on purpose: its own draws, apart from any scorer."""
    draws = {
        task["id"]: [Chance(("0", task["id"], str(SEED + n), "0")).happens(WRONG, "wrong") for n in range(SAMPLES)]
        for task in inline(tasks)
    }
    return {task: SAMPLES - sum(wrong) for task, wrong in draws.items()}


def ended(it: Fleet, id: str) -> Any:
    until(
        lambda: it.get(f"/v1/compilations/{id}")["state"] not in ("queued", "running"), "the compilation has not ended"
    )
    return it.get(f"/v1/compilations/{id}")


def published(it: Fleet, compiled: Any) -> dict[str, str]:
    """Pass rate by task."""
    table = pq.read_table(it.home / "datasets" / "taught" / compiled["version"] / "canonical")
    return {row["task"]: json.loads(row["labels"])["teacher_pass_rate"] for row in table.to_pylist()}


def targets(it: Fleet, compiled: Any) -> list[str]:
    (path,) = (it.home / "datasets" / "taught" / compiled["version"]).glob("*_data.jsonl")
    return [json.loads(row)["dialogs"][-1]["content"] for row in path.read_text().splitlines()]


def conversations(url: str) -> dict[str, Any]:
    return dict(told(url)["conversations"])


def answered(url: str) -> int:
    return sum(talk["completions"] for talk in conversations(url).values())


def test_a_killed_worker_pays_for_no_reply_twice(site: Site) -> None:
    """But for the calls that were in flight, whose answers nobody was there to take."""
    it = site.fleet
    teacher, url = it.oracle(pinned(it, site.run), "--wrong", str(WRONG), "--reasoning", "think", name="teacher")
    teacher.up()
    with gate(url, first(8)) as half_way:
        id = it.post("/v1/compilations", taught(site.run, half_way.url))["id"]
        site.generation.halt_when(lambda: len(half_way.held) == 2, "half way")
        before = {key for key, talk in conversations(url).items() if talk["completions"]}
        site.replace_worker(2, half_way)
        done = ended(it, id)
    assert (done["state"], done["error"]) == ("succeeded", "")
    rates = {task: f"{n} of {SAMPLES}" for task, n in right_samples(sql_tasks()).items() if n}
    assert published(it, done) == rates
    assert 0 < len(rates) < 8
    assert all(target.startswith("<think>\nThe question is: ") for target in targets(it, done))
    asked = conversations(url)
    assert len(asked) == 8 * SAMPLES
    assert len(before) == 8 + 2 < len(asked)
    assert sum(talk["repeated"] for talk in asked.values()) <= 2


def test_a_cancelled_compilation_orders_nothing_more_and_keeps_what_was_paid(site: Site) -> None:
    it = site.fleet
    teacher, url = it.oracle(pinned(it, site.run), name="slow-teacher")
    teacher.up()
    with gate(url, first(3)) as half_way:
        asked = {**taught(site.run, half_way.url, seed=1), "dataset": "cancelled"}
        datasets = it.get("/v1/datasets")["items"]
        id = it.post("/v1/compilations", asked)["id"]
        until(lambda: half_way.held and sum(calls_of(it, id).values()) == 8 * SAMPLES, "some are answered, all ordered")
        assert it.post(f"/v1/compilations/{id}/cancel")["state"] == "cancelled"
        half_way.open()
        until(lambda: not list((it.home / "datasets" / "cancelled").glob(".*")), "its unfinished files are not removed")
        until(lambda: not calls_of(it, id).keys() & {"queued", "running"}, "calls in flight end")
    wanted = {**taught(site.run, url, seed=1), "dataset": "cancelled"}
    paid = answered(url)
    assert calls_of(it, id) == {"succeeded": paid, "cancelled": 8 * SAMPLES - paid}
    time.sleep(2)
    assert answered(url) == paid < 8 * SAMPLES
    assert it.get("/v1/datasets")["items"] == datasets
    assert list((it.home / "datasets" / "cancelled").iterdir()) == []
    again = ended(it, it.post("/v1/compilations", wanted)["id"])
    assert (again["state"], again["error"], again["accounts"]["published"]) == ("succeeded", "", 8)
    assert {talk["completions"] for talk in conversations(url).values()} == {1}
    assert answered(url) == 8 * SAMPLES


def calls_of(it: Fleet, compilation: str) -> dict[str, int]:
    """The model calls that it ordered, by their state."""
    ordered = jobs.c.payload["compilation"].as_string() == compilation
    query = sa.select(jobs.c.state, sa.func.count()).where(jobs.c.kind == "generation", ordered)
    with it.store() as store, store.read() as c:
        return {state: int(n) for state, n in c.execute(query.group_by(jobs.c.state))}


@pytest.mark.needs("docker")
def test_patches_of_a_teacher_are_judged_by_the_hidden_tests(site: Site) -> None:
    """Whose worker is killed in the middle."""
    it = site.fleet
    tasks = swe_tasks(it)
    run = solved(it, "swe", tasks)
    teacher, url = it.oracle(tasks, "--wrong", str(WRONG), "--reasoning", "field", name="teacher-swe")
    teacher.up()
    with gate(url, first(2)) as half_way:
        id = it.post("/v1/compilations", taught(run, half_way.url))["id"]
        until(lambda: half_way.held, "two are answered and more under way")
        site.replace_worker(4, half_way)
        done = ended(it, id)
    assert (done["state"], done["error"]) == ("succeeded", "")
    rates = {task: f"{n} of {SAMPLES}" for task, n in right_samples(tasks).items() if n}
    assert published(it, done) == rates
    assert 0 < len(rates) < 3
    assert sum(talk["repeated"] for talk in conversations(url).values()) <= 2
    assert all("\n</think>\n\n" in target and "\n--- a/" in target for target in targets(it, done))
