"""The SQL policy on Spider's questions, through the real environment and real HTTP."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.oracle import Known, OracleSettings, Recording, parse_recording
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.sql.environment import SqlEnvironment
from envs.sql.load import load_database
from envs.task import Reference, Task

Spider = tuple[SqlEnvironment, list[Known]]
Drive = Callable[..., Awaitable[list[Any]]]

pytestmark = pytest.mark.needs("realdata")


@pytest.fixture(scope="module")
def spider(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Spider:
    """The questions whose gold SQL runs in DuckDB."""
    site = Site(root=tmp_path_factory.mktemp("site"), blobs=MemoryBlobs())
    for folder in sorted((realdata / "sql" / "db").iterdir()):
        load_database(folder, folder.name, site)
    environment = SqlEnvironment(site)
    known, refused = [], []
    for line in (realdata / "sql" / "questions.jsonl").read_text().splitlines():
        row = json.loads(line)
        task = Task(
            id=f"spider-{row['id']}",
            environment="sql",
            question=row["question"],
            world={"database": row["db"]},
            dialect=row["gold_dialect"],
        )
        try:
            pinned, reference = environment.pin(task, Reference(data={"gold_sql": row["gold_sql"]}))
        except TaskError as e:
            refused.append(str(e))
        else:
            assert reference is not None
            known.append(Known(pinned, reference))
    print(f"{len(known)} run, {len(refused)} do not", *refused, sep="\n")
    return environment, known


@pytest.fixture(scope="module")
def recorded(realdata: Path) -> dict[str, dict[str, Any]]:
    """What GPT-4 did on these questions, by task."""
    lines = (realdata / "traj" / "intercode_sql_gpt-4.jsonl").read_text().splitlines()
    return {f"spider-{row['task_id']}": row for row in map(json.loads, lines)}


def recording(task: str, row: dict[str, Any]) -> Recording:
    """Each action as a statement that is run; the last query once more as the answer."""
    actions = row["turn_history"]["actions"]
    queries = [action for action in actions if action.lstrip().upper().startswith(("SELECT", "WITH"))]
    run = [{"name": "run_sql", "arguments": {"sql": action}} for action in actions]
    answer = [{"name": "answer", "arguments": {"sql": queries[-1]}}] if queries else []
    return parse_recording({"task": task, "actions": [*run, *answer]})


async def test_recorded_actions_are_played_to_their_end_and_scored_as_they_were(
    spider: Spider, recorded: dict[str, dict[str, Any]], drive: Drive
) -> None:
    environment, tasks = spider
    recordings = [recording(known.task.id, recorded[known.task.id]) for known in tasks]
    driven = await drive(environment, tasks, recordings=recordings)
    agreed, other = 0, []
    for known, ended, score in driven:
        row = recorded[known.task.id]
        statements = [step.tool_call.arguments for step in ended.steps if step.tool_call.name == "run_sql"]
        assert [json.loads(one)["sql"] for one in statements] == row["turn_history"]["actions"]
        reward = row["turn_history"]["rewards"][-1]
        if bool(score and score.right) == (reward == 1.0):
            agreed += 1
        else:
            other.append((known.task.id, reward, ended.stop, score and score.words, row["turn_history"]["actions"][-1]))
    print(f"{agreed}/{len(tasks)} agree; not:", *other, sep="\n")
    assert agreed >= 0.92 * len(tasks)


async def test_it_solves_nine_in_ten_of_those_whose_gold_runs(spider: Spider, drive: Drive) -> None:
    environment, tasks = spider
    driven = await drive(environment, tasks)
    unsolved = [
        (known.task.id, trajectory.stop, score and score.words)
        for known, trajectory, score in driven
        if score is None or not score.right
    ]
    print(f"{len(tasks) - len(unsolved)}/{len(tasks)} solved; not:", *unsolved, sep="\n")
    assert len(tasks) > 450
    assert len(unsolved) <= len(tasks) / 10


async def test_a_mutated_query_scores_nothing(spider: Spider, drive: Drive) -> None:
    environment, tasks = spider
    driven = await drive(environment, tasks, OracleSettings(wrong=1.0))
    right = [
        (known.task.id, known.reference.data["gold_sql"], trajectory.submission.sql)
        for known, trajectory, score in driven
        if score and score.value
    ]
    silent = [(known.task.id, trajectory.stop) for known, trajectory, score in driven if score is None]
    print(f"{len(right)} near misses of {len(tasks)} score, {len(silent)} gave none:", *right, *silent, sep="\n")
    assert len(right) <= len(tasks) / 100
    assert len(silent) <= len(tasks) / 100
