"""Two rollouts never see each other's state: each gets at once with others what it gets alone, to the byte."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Environment, Site
from envs.search.environment import SearchEnvironment
from envs.search.indexing import index_corpus
from envs.sql.environment import SqlEnvironment
from envs.sql.load import load_database
from envs.task import Task
from envs.tool import ToolResult

Calls = list[tuple[str, dict[str, Any]]]
Rollout = tuple[Task, Calls]

SQL: Calls = [
    ("run_sql", {"sql": sql})
    for sql in (
        "SELECT * FROM t ORDER BY name",
        "SELECT name FROM t WHERE name = 'ADA' OR name LIKE 'b%' ORDER BY 1",
        "SELECT 7 / 2, sum(n) FROM t",
        "SELECT random(), uuid() FROM range(3)",
        "SELECT name FROM t USING SAMPLE 2 ROWS",
        "SET VARIABLE x = 5",
        "SELECT getvariable('x')",
        "CREATE TEMP MACRO sum(x) AS 42",
        "CREATE TEMP TABLE t AS SELECT 1 AS n",
        "CREATE TEMP VIEW t AS SELECT 1 AS n",
        "SET search_path = 'temp'",
        "SET default_collation = 'nocase'",
        "SET threads = 9",
        "SELECT setseed(0.1)",
        "PREPARE q AS SELECT 1",
        "EXECUTE q",
        "BEGIN",
        "COMMIT",
        "PRAGMA disable_optimizer",
        "SELECT count(*) FROM t a, t b",
        "SELECT nonsense FROM t",
    )
]
SEARCH: Calls = [
    ("search", {"query": "common"}),
    ("search", {"query": ["first", "second", "common word"], "top_k": 3}),
    ("visit", {"id": "d1"}),
    ("find", {"id": "d1", "pattern": "word"}),
    ("visit", {"id": "http://x.test/d2"}),
    ("visit", {"id": "nothing"}),
    ("search", {"query": ""}),
]


def search_world(folder: Path) -> list[Rollout]:
    """The same ids, URLs and titles in two versions of one corpus and in another: only the texts differ."""
    rollouts = []
    for name, word in (("a", "first"), ("a", "second"), ("b", "third")):
        rows = [
            {"id": f"d{n}", "title": "T", "url": f"http://x.test/d{n}", "text": f"{word} common word {n}"}
            for n in range(9)
        ]
        (folder / "c.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
        version = index_corpus(folder / "c.jsonl", name, Site(folder, MemoryBlobs())).manifest.version
        world = {"corpus": name, "version": version}
        rollouts.append((Task(id=name + word, environment="search", question="?", world=world), SEARCH))
    return rollouts


def sql_world(folder: Path) -> list[Rollout]:
    """One database under three dialects' manners, and another with a table of the same name."""
    site = Site(folder, MemoryBlobs())
    for name, rows in (("one", "('Ada', 1), ('ada', 2), ('Bo', 3)"), ("two", "('Cy', 4), ('b', 5)")):
        with duckdb.connect(str(folder / f"{name}.duckdb")) as connection:
            connection.execute(f"CREATE TABLE t AS FROM (VALUES {rows}) v(name, n)")
        load_database(folder / f"{name}.duckdb", name, site)
    wanted = [("one", None), ("one", "mysql"), ("one", "sqlite"), ("two", None)]
    return [
        (Task(id=f"{name}-{dialect}", environment="sql", question="?", world={"database": name}, dialect=dialect), SQL)
        for name, dialect in wanted
    ]


@asynccontextmanager
async def opened(make: Callable[[Site], Environment], folder: Path) -> AsyncIterator[Environment]:
    environment = make(Site(folder, MemoryBlobs()))
    try:
        yield environment
    finally:
        await environment.close()


async def played(environment: Environment, rollout: Rollout, pauses: random.Random | None = None) -> list[ToolResult]:
    task, calls = rollout
    specs = {spec.name: spec for spec in environment.tools}
    session = await environment.start(task, {})
    results = []
    for tool, arguments in calls:
        if pauses is not None:
            await asyncio.sleep(pauses.random() / 100)
        result = await session.call(tool, specs[tool].parse(arguments))
        results.append(result.model_copy(update={"seconds": 0.0}))
    await session.close()
    return results


@pytest.mark.parametrize(("make", "world"), [(SearchEnvironment, search_world), (SqlEnvironment, sql_world)])
async def test_a_rollout_among_others_sees_what_it_sees_alone(
    tmp_path: Path, make: Callable[[Site], Environment], world: Callable[[Path], list[Rollout]]
) -> None:
    rollouts = world(tmp_path)
    alone = []
    for rollout in rollouts:
        async with opened(make, tmp_path) as environment:
            alone.append(await played(environment, rollout))
    assert len({str(results) for results in alone}) == len(rollouts), "the worlds can be told apart"
    async with opened(make, tmp_path) as environment:
        pauses = random.Random(5)
        together = await asyncio.gather(*(played(environment, r, pauses) for r in rollouts * 2))
        assert together == alone * 2
