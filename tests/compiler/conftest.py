"""Candidates made by hand, in all three environments, over a store in memory."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.publish import Published
from compiler.recipe import Recipe
from envs.blobs import MemoryBlobs
from envs.evidence import FULL, SNIPPET, Evidence
from envs.frozen import canonical_json
from envs.score import Score, Submission
from envs.sql.world import TABLE_MEDIA_TYPE
from envs.swe.world import Tree, TreeFile
from envs.task import Reference, Task
from envs.tool import ToolResult
from rollout.trajectory import ToolCall, ToolStep, Trajectory

RIGHT = Score(scorer="test", version="1", value=1.0, verdict="right")
WRONG = Score(scorer="test", version="1", value=0.0, verdict="wrong", words="expected something else")


class World:
    """Builds candidates; every text goes into `blobs`."""

    right = RIGHT
    wrong = WRONG

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()

    def document(self, source: str, text: str, how: str = "opened", rank: int | None = None) -> Evidence:
        return Evidence(
            kind="document",
            source=source,
            version="v1",
            how=how,  # type: ignore[arg-type]
            coverage=FULL if how == "opened" else SNIPPET,
            blob=self.blobs.put(text.encode()),
            title=f"About {source}",
            rank=rank,
        )

    def file(self, path: str, text: bytes, base: bytes | None = None) -> Evidence:
        return Evidence(
            kind="file",
            source=path,
            version="v1",
            how="opened",
            coverage=FULL,
            blob=self.blobs.put(text),
            base=None if base is None else self.blobs.put(base),
        )

    def table(self, name: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[object]]) -> Evidence:
        header = canonical_json({"columns": [{"name": n, "type": t} for n, t in columns]})
        data = b"\n".join([header, *(canonical_json(list(r)) for r in rows)]) + b"\n"
        return Evidence(
            kind="table",
            source=name,
            version="v1",
            how="opened",
            coverage=FULL,
            blob=self.blobs.put(data, TABLE_MEDIA_TYPE),
        )

    def tree(self, files: dict[str, bytes]) -> str:
        entries = {path: TreeFile(blob=self.blobs.put(data).hash, size=len(data)) for path, data in files.items()}
        return self.blobs.put(canonical_json(Tree(files=entries))).hash

    def step(self, *evidence: Evidence, error: bool = False, submission: Submission | None = None) -> ToolStep:
        return ToolStep(
            call=0,
            tool_call=ToolCall(id="c", name="tool", arguments="{}"),
            message=0,
            result=ToolResult(text="shown", evidence=evidence, is_error=error, submission=submission),
        )

    def trajectory(self, id: str, task: Task, steps: Sequence[ToolStep], submission: Submission) -> Trajectory:
        return Trajectory(
            id=id,
            run="r",
            rollout=f"o-{id}",
            attempt=1,
            task=task,
            model="m",
            steps=tuple(steps),
            submission=submission,
            stop="answered",
        )

    def search(
        self,
        id: str = "s1",
        question: str = "In which year was the lighthouse of Orrin lit first?",
        answer: str = "in spring 1872",
        opened: Sequence[tuple[str, str]] = (
            ("orrin", "Orrin is an island.\nIts lighthouse was lit in spring 1872."),
            ("light", "Lighthouses are towers. ünïcödé 灯台"),
        ),
        listed: Sequence[tuple[str, str]] = (
            ("boats", "Boats float on water."),
            ("gulls", "Gulls are birds of the sea."),
            ("orrin", "Orrin is an island.\nIts lighthouse was lit in spring 1872."),
        ),
        gold: Sequence[str] = ("orrin",),
        extra: Sequence[ToolStep] = (),
        score: Score | None = RIGHT,
    ) -> Candidate:
        found = [self.document(s, t, "listed", rank) for rank, (s, t) in enumerate(listed, 1)]
        steps = [self.step(*found), *(self.step(self.document(s, t)) for s, t in opened), *extra]
        task = Task(id=f"t-{id}", environment="search", question=question, world={"corpus": "c"}, group="g")
        trajectory = self.trajectory(id, task, steps, Submission(kind="text", text=answer))
        reference = Reference(data={"answers": [answer], "gold_docs": list(gold)})
        return Candidate(trajectory=trajectory, reference=reference, score=score)

    def swe(
        self,
        id: str = "w1",
        files: dict[str, bytes] | None = None,
        patch: str = "--- a/pkg/area.py\n+++ b/pkg/area.py\n@@ -1,2 +1,2 @@\n def area(w, h):\n-    return w + h\n"
        "+    return w * h\n",
        inspected: Sequence[Evidence] = (),
        hidden: dict[str, str] | None = None,
        score: Score | None = RIGHT,
    ) -> Candidate:
        files = files or {
            "pkg/area.py": b"def area(w, h):\n    return w + h\n",
            "pkg/shape.py": b"from pkg.area import area\n",
            "tests/test_area.py": b"def test_area():\n    assert area(2, 3) == 6\n",
        }
        world = {"repository": "pkg", "tree": self.tree(files)}
        task = Task(id=f"t-{id}", environment="swe", question="area() is wrong", world=world, group="pkg")
        steps = [self.step(*inspected)]
        trajectory = self.trajectory(id, task, steps, Submission(kind="patch", text=patch))
        reference = Reference(data={"gold_patch": patch, "fail_to_pass": ["t::a"], "hidden_tests": hidden or {}})
        return Candidate(trajectory=trajectory, reference=reference, score=score)

    def sql(
        self,
        id: str = "q1",
        gold_sql: str = "SELECT count(*) FROM ferry",
        rows: Sequence[Sequence[object]] = ((2,),),
        read: Sequence[str] = ("ferry",),
        extra: Sequence[ToolStep] = (),
        score: Score | None = RIGHT,
    ) -> Candidate:
        tables = {
            "ferry": self.table("ferry", [("id", "INTEGER"), ("name", "VARCHAR")], [(1, "Alma"), (2, "Bror")]),
            "port": self.table("port", [("id", "INTEGER"), ("town", "VARCHAR")], [(1, "Vik")]),
        }
        world = {"database": "d", "tables": {n: t.blob for n, t in tables.items()}}
        task = Task.model_validate(
            {"id": f"t-{id}", "environment": "sql", "question": "How many ferries are there?", "world": world}
        )
        steps = [self.step(*(tables[name] for name in read)), *extra]
        answer = Submission(kind="rows", text=canonical_json(rows).decode(), rows=tuple(map(tuple, rows)))
        trajectory = self.trajectory(id, task, steps, answer)
        reference = Reference(data={"gold_sql": gold_sql, "rows": [list(r) for r in rows]})
        return Candidate(trajectory=trajectory, reference=reference, score=score)


@pytest.fixture
def world() -> World:
    return World()


Compile = Callable[..., Published]


@pytest.fixture
def compiled(world: World, tmp_path: Path) -> Compile:
    def go(*candidates: Candidate, recipe: Recipe | None = None, at: str = "datasets") -> Published:
        return compile_dataset(recipe or Recipe(runs=("r",)), candidates, world.blobs, tmp_path / at, "demo")

    return go


@pytest.fixture(scope="session")
def qwen3_file() -> Path:
    """Qwen3's own tokenizer.json, where TRAJC_QWEN3_TOKENIZER names it."""
    path = Path(os.environ.get("TRAJC_QWEN3_TOKENIZER", "/nowhere"))
    if not path.is_file():
        pytest.skip("TRAJC_QWEN3_TOKENIZER names no tokenizer.json")
    return path
