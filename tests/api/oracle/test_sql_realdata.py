"""The SQL policy on Spider's questions, through the real environment and real HTTP."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.oracle import Known, OracleSettings
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
