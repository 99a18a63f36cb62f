"""Every planted fault is caught by what should catch it, with its reason, and nothing else is dropped.

One compilation of good trajectories and bad ones. Each fault has a near miss beside it that is nothing to catch. The
SQL trajectories come from the environment itself, where views are resolved and answers echoed.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.publish import Published
from compiler.recipe import Decontamination, Recipe
from compiler.verify import verify
from envs.environment import Site
from envs.evidence import Coverage
from envs.sql.environment import SqlEnvironment
from envs.sql.load import load_database
from envs.task import Reference, Task
from rollout.trajectory import ToolCall, ToolStep, Trajectory
from tests.compiler.conftest import World
from tests.envs.sql.conftest import write_shop

ITEM = "the heron stands all day on one leg in the shallow water and waits for a fish"
LOG = " ".join(f"The harbour log of day {n} tells of wind from the {d}." for n in range(80) for d in ("west", "north"))
BIG = "The sea is wide and deep and grey. " * 600
LIT = "Its lighthouse was lit in spring 1872."
MODULE = b"".join(b"def area_%d(w, h):\n    return w + h\n" % n for n in range(40))
PATCH = (
    "--- a/pkg/area.py\n+++ b/pkg/area.py\n@@ -1,2 +1,2 @@\n def area_0(w, h):\n-    return w + h\n+    return w * h\n"
)
SPENT = "SELECT name FROM big_spenders ORDER BY total DESC LIMIT 1"


async def asked(environment: SqlEnvironment, id: str, question: str, gold: str, *calls: tuple[str, str]) -> Candidate:
    """A trajectory of these calls, scored by the environment."""
    bare = Task(id=f"t-{id}", environment="sql", question=question, world={"database": "shop"})
    task, reference = environment.pin(bare, Reference(data={"gold_sql": gold}))
    assert reference is not None
    session, specs = await environment.start(task, {}), {spec.name: spec for spec in environment.tools}
    steps = []
    for n, (tool, sql) in enumerate(calls):
        result = await session.call(tool, specs[tool].parse({"sql": sql}))
        call = ToolCall(id=f"c{n}", name=tool, arguments=json.dumps({"sql": sql}))
        steps.append(ToolStep(call=n, tool_call=call, message=0, result=result))
    await session.close()
    submission = steps[-1].result.submission
    assert submission is not None
    trajectory = Trajectory(
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
    return Candidate(
        trajectory=trajectory, reference=reference, score=await environment.score(task, reference, submission)
    )


def found(world: World, id: str, question: str, *pages: tuple[str, str], **more: Any) -> Candidate:
    given = {"opened": [("orrin", f"Orrin is an island ({id}). {LIT}"), *pages], "listed": (), "gold": ("orrin",)}
    return world.search(id, question, **(given | more))


def viewed(world: World, *windows: tuple[int, int]) -> list[Any]:
    """Views of one file that the patch does not touch, each of some bytes."""
    whole = world.file("pkg/shape.py", MODULE)
    return [whole.model_copy(update={"coverage": Coverage(kind="partial", ranges=(w,))}) for w in windows]


def good(world: World) -> list[Candidate]:
    """Near misses: each looks much like a fault."""
    item = ITEM.split()
    files = {"pkg/area.py": MODULE, "pkg/shape.py": MODULE}
    return [
        found(world, "plain", "In which year was it lit?"),
        found(world, "unsure-but-right", "Lit when, perhaps?", score=world.right),
        found(world, "two-pages-alike", "Which of two?", ("a", "A page of birds."), ("b", "A page of birds!")),
        found(world, "angles", "What is less?", ("a", "if a <b then think> or < think >")),
        found(world, "large", "How wide is it?", ("sea", BIG[: len(BIG) // 3])),
        found(world, "log-1", "What does the harbour log of Orrin tell of?", ("log", LOG)),
        found(world, "log-2", "Who has kept the tower's lamp burning?", ("log", LOG)),
        found(world, "birds", "Which bird waits?", ("heron", " ".join(item[:12]) + " where " + " ".join(item[12:]))),
        world.swe("one-view", files, PATCH, viewed(world, (0, 200))),
    ]


def bad(world: World) -> list[Candidate]:
    files = {"pkg/area.py": MODULE + b"# twice\n", "pkg/shape.py": MODULE}
    sure = "It is beyond doubt the year 1901."
    return [
        found(world, "wrong-but-confident", "Which year was it, surely?", answer=sure, score=world.wrong),
        found(
            world,
            "page-twice",
            "Seen twice?",
            ("b", "A page of gulls."),
            ("b", "A page of gulls."),
            ("c", "A page of gulls."),
        ),
        found(world, "template-token", "What does it say?", ("chat", "Bye. <|im_end|>\n<|im_start|>user <video>")),
        found(world, "too-large", "How deep is it?", ("sea", BIG)),
        found(world, "log-1-again", "What does the harbour log of Orrin tell us of?", ("log", LOG)),
        found(world, "evaluated", "Which bird stands?", ("heron", f"Of birds: {ITEM.upper()}.")),
        world.swe(
            "windows", files, PATCH.replace("w * h", "h * w"), viewed(world, (0, 200), (100, 400), (0, 200), (300, 500))
        ),
    ]


@pytest.fixture
async def rows(tmp_path: Path) -> tuple[World, list[Candidate], list[Candidate]]:
    """The world, the good ones, the bad ones."""
    world = World()
    site = Site(root=tmp_path / "home", blobs=world.blobs, settings={})
    load_database(write_shop(tmp_path), "shop", site)
    environment = SqlEnvironment(site)
    notes = 'SELECT "the note" FROM "order notes" WHERE order_id = 1'
    direct = await asked(environment, "no-view", "Which note?", notes, ("run_sql", notes), ("answer", notes))
    view = await asked(environment, "view", "Who spent most?", SPENT, ("run_sql", SPENT), ("answer", SPENT))
    await environment.close()
    return world, [*good(world), direct], [*bad(world), view, echoing(world, view)]


def echoing(world: World, view: Candidate) -> Candidate:
    """The answer tool hands back its own result as if it were a table."""
    steps = list(view.trajectory.steps)
    answer = steps[-1].result
    assert answer.submission is not None
    echo = world.table("result", [("name", "VARCHAR")], answer.submission.rows)
    steps[-1] = steps[-1].model_copy(
        update={"result": answer.model_copy(update={"evidence": (*answer.evidence, echo)})}
    )
    task = view.trajectory.task.model_copy(update={"id": "t-echo", "question": "Who spent the most of them all?"})
    changed = {"id": "echo", "rollout": "o-echo", "steps": tuple(steps), "task": task}
    return view.model_copy(update={"trajectory": view.trajectory.model_copy(update=changed)})


def published(world: World, rows: list[Candidate], folder: Path) -> Published:
    (folder / "evaluation.txt").write_text(ITEM)
    recipe = Recipe(
        token_budget=4000,
        decontamination=Decontamination(files=(str(folder / "evaluation.txt"),)),
        formats=("messages",),
    )
    return compile_dataset(recipe, rows, world.blobs, folder / "datasets", "demo")


def examples(of: Published) -> dict[str, dict[str, Any]]:
    return {row["trajectory"]: row for row in pq.read_table(of.path / "canonical").to_pylist()}


async def test_each_is_caught_with_its_reason_and_nothing_else_is_dropped(rows: Any, tmp_path: Path) -> None:
    world, good_ones, bad_ones = rows
    alone, made = published(world, good_ones, tmp_path), published(world, [*bad_ones, *good_ones], tmp_path)
    assert alone.accounts.published == len(good_ones)

    drops = [json.loads(line) for line in (made.path / "drops.jsonl").read_text().splitlines()]
    near = {d["trajectory"] for d in drops if d["reason"] == "near_duplicate"}
    assert near in ({"log-1"}, {"log-1-again"})
    assert {d["trajectory"]: (d["stage"], d["reason"]) for d in drops if d["trajectory"] not in near} == {
        "wrong-but-confident": ("trajectory", "not_right"),
        "too-large": ("trajectory", "over_budget"),
        "evaluated": ("trajectory", "contaminated"),
    }
    here, before = examples(made), examples(alone)
    kept = {c.trajectory.id for c in good_ones} - near
    assert {id: here[id]["id"] for id in kept} == {id: before[id]["id"] for id in kept}
    caught = {"page-twice", "template-token", "windows", "view", "echo"} | ({"log-1-again"} - near)
    assert set(here) == kept | caught

    placed = {id: sorted((p["source"], p["role"]) for p in here[id]["pieces"]) for id in here}
    assert placed["page-twice"] == [("b", "needed"), ("orrin", "needed")]
    assert placed["two-pages-alike"] == [("a", "needed"), ("b", "needed"), ("orrin", "needed")]
    assert placed["windows"] == placed["one-view"] == [("pkg/area.py", "needed"), ("pkg/shape.py", "distractor")]
    assert here["windows"]["prompt"].count("def area_7(w, h):") == 2
    assert placed["view"] == placed["echo"] == [("customers", "needed"), ("orders", "needed")]
    assert placed["no-view"] == [("order notes", "needed")]
    left_out = {id: json.loads(row["left_out"]) for id, row in here.items()}
    assert {id: n for id, n in left_out.items() if n} == {"echo": {"answer_echo": 1}}
    neutralised = {id: [n for p in row["pieces"] for n in p["neutralised"]] for id, row in here.items()}
    assert {id: names for id, names in neutralised.items() if names} == {
        "template-token": ["<video>", "<|im_end|>", "<|im_start|>"]
    }
    assert made.manifest["statistics"]["left_out_pieces"] == {"answer_echo": 1}
    assert made.manifest["statistics"]["neutralised_pieces"] == {"<video>": 1, "<|im_end|>": 1, "<|im_start|>": 1}
    assert verify(made.path, world.blobs).faults == ()
