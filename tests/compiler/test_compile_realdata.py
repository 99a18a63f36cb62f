"""Real environments over real data: what their sessions give as evidence compiles, and passes the verifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.recipe import Recipe, SearchPolicy, SqlPolicy
from compiler.recipe_split import Split
from compiler.verify import verify
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.score import Submission
from envs.search.environment import SearchEnvironment
from envs.search.indexing import index_corpus
from envs.sql.environment import SqlEnvironment
from envs.sql.load import load_database
from envs.task import Reference, Task
from rollout.trajectory import ToolCall, ToolStep, Trajectory

pytestmark = pytest.mark.needs("realdata")

QUESTIONS = 25
FILLED = Recipe(
    split=Split(documents="needed"),
    search=SearchPolicy(siblings="world"),
    sql=SqlPolicy(siblings="world"),
    fill_tokens=16384,
)
"""Siblings fill searches up to the bucket of 16k."""
DATABASES = ("concert_singer", "pets_1", "world_1")


def rows(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def played(
    environment: Any,
    task: Task,
    reference: Reference,
    calls: Sequence[tuple[str, dict[str, Any]]],
    submission: Submission | None = None,
) -> Candidate:
    """A trajectory of these tool calls, scored by the environment."""
    session = await environment.start(task, {})
    steps: list[ToolStep] = []
    try:
        for tool, arguments in calls:
            spec = next(t for t in environment.tools if t.name == tool)
            result = await session.call(tool, spec.parse(arguments))
            asked = ToolCall(id=f"c{len(steps)}", name=tool, arguments=orjson.dumps(arguments).decode())
            steps.append(ToolStep(call=0, tool_call=asked, message=0, result=result))
    finally:
        await session.close()
    handed_in = submission or steps[-1].result.submission
    assert handed_in is not None
    trajectory = Trajectory(
        id=f"{environment.name}-{task.id}",
        run="r",
        rollout=task.id,
        attempt=1,
        task=task,
        model="scripted",
        steps=tuple(steps),
        submission=handed_in,
        stop="answered",
    )
    score = await environment.score(task, reference, handed_in)
    return Candidate(trajectory=trajectory, reference=reference, score=score)


async def search_candidates(realdata: Path, site: Site) -> list[Candidate]:
    index_corpus(realdata / "search" / "corpus.jsonl", "hotpot", site)
    environment = SearchEnvironment(site)
    out = []
    for q in rows(realdata / "search" / "questions.jsonl")[:QUESTIONS]:
        wanted = Reference(data={"answers": q["answers"], "gold_docs": q["gold_docs"]})
        task = Task(id=q["id"], environment="search", question=q["question"], world={"corpus": "hotpot"})
        task, reference = environment.pin(task, wanted)
        calls: list[tuple[str, dict[str, Any]]] = [("search", {"query": q["question"], "top_k": 10})]
        calls += [("search", {"query": title, "top_k": 10}) for title in q["gold_docs"]]
        calls += [("visit", {"id": id}) for id in q["gold_docs"]]
        answer = Submission(kind="text", text=f"Answer: {q['answers'][0]}")
        out.append(await played(environment, task, reference or wanted, calls, answer))
    await environment.close()
    return out


async def sql_candidates(realdata: Path, site: Site) -> list[Candidate]:
    for name in DATABASES:
        load_database(realdata / "sql" / "db" / name, name, site)
    environment = SqlEnvironment(site)
    out = []
    try:
        for q in [q for q in rows(realdata / "sql" / "questions.jsonl") if q["db"] in DATABASES][: 2 * QUESTIONS]:
            task = Task(
                id=str(q["id"]),
                environment="sql",
                question=q["question"],
                world={"database": q["db"]},
                dialect=q["gold_dialect"],
            )
            try:
                task, reference = environment.pin(task, Reference(data={"gold_sql": q["gold_sql"]}))
            except TaskError:
                continue
            assert reference is not None
            gold = q["gold_sql"]
            calls: list[tuple[str, dict[str, Any]]] = [("list_tables", {}), ("run_sql", {"sql": gold})]
            out.append(await played(environment, task, reference, [*calls, ("answer", {"sql": gold})]))
    finally:
        await environment.close()
    return out


async def test_rollouts_of_real_environments_compile_and_verify(realdata: Path, tmp_path: Path) -> None:
    site = Site(root=tmp_path / "home", blobs=MemoryBlobs())
    candidates = await search_candidates(realdata, site) + await sql_candidates(realdata, site)
    recipe = Recipe(formats=("messages", "tokenised"))
    published = compile_dataset(recipe, candidates, site.blobs, tmp_path / "datasets", "real")

    report = verify(published.path, site.blobs)
    assert report.faults == ()
    assert published.accounts.selected == len(candidates)
    assert published.examples["search_agent"] >= 0.9 * QUESTIONS
    assert published.examples["sql_agent"] >= QUESTIONS
    expected = {"answer_rows", "not_right"}
    assert published.accounts.trajectories_dropped.keys() <= expected, (published.path / "drops.jsonl").read_text()

    filled = compile_dataset(FILLED, candidates, site.blobs, tmp_path / "datasets", "filled")
    assert verify(filled.path, site.blobs).faults == ()
    assert filled.accounts == published.accounts
    assert filled.manifest["splits"]["search_agent"]["clusters"] >= QUESTIONS / 2
    assert {"train", "validation"} == {row["split"] for row in pq.read_table(filled.path / "canonical").to_pylist()}
    assert filled.manifest["statistics"]["context_lengths"]["16k"] >= 0.9 * QUESTIONS

    for row in pq.read_table(published.path / "canonical").to_pylist():
        labels = orjson.loads(row["labels"])
        assert labels["answerable"] in ("gold documents present", "gold tables present")
        if row["config"] == "search_agent":
            assert sum(p["role"] == "needed" for p in row["pieces"]) == 2
            assert sum(p["role"] == "distractor" for p in row["pieces"]) >= 5
