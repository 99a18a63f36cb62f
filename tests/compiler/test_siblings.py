"""Distractors from sibling trajectories: they fill an example, and never bring the answer with them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compiler.compilation import compile_dataset
from compiler.recipe import Recipe, SearchPolicy, SqlPolicy, SwePolicy
from compiler.verify import verify

PAGES = tuple((f"page{n}", f"Page {n} of the harbour log. " + f"Wind {n} from the west. " * 20) for n in range(12))
TASK = Recipe(search=SearchPolicy(siblings="task"), near_duplicates=None)
WORLD = Recipe(search=SearchPolicy(siblings="world"), near_duplicates=None)


def pieces(published: Any, trajectory: str) -> dict[str, int]:
    """Source -> tier of one trajectory's example."""
    for row in pq.read_table(published.path / "canonical").to_pylist():
        if row["trajectory"] == trajectory:
            return {p["source"]: p["tier"] for p in row["pieces"]}
    raise AssertionError(trajectory)


def attempt(world: Any, id: str, task: str, opened: Any, listed: Any = (), **more: Any) -> Any:
    """One of several attempts at a task; the gold page is opened by each."""
    gold = ("orrin", "Orrin is an island.\nIts lighthouse was lit in spring 1872.")
    found = world.search(id, f"Question of {task}?", opened=[gold, *opened], listed=listed, **more)
    of = found.trajectory.task.model_copy(update={"id": task})
    return found.model_copy(update={"trajectory": found.trajectory.model_copy(update={"task": of})})


@pytest.fixture
def found(world: Any) -> list[Any]:
    return [
        attempt(world, "a", "t1", PAGES[:1]),
        attempt(world, "b", "t1", PAGES[1:2], PAGES[2:4], score=world.wrong),
        attempt(world, "c", "t2", PAGES[4:6], PAGES[6:8]),
    ]


def test_other_attempts_come_before_the_rest_of_the_corpus(compiled: Any, found: list[Any], world: Any) -> None:
    own = {"orrin": 0, "page0": 0}
    assert pieces(compiled(*found), "a") == own
    assert pieces(compiled(*found, recipe=TASK), "a") == own | {"page1": 3, "page2": 3, "page3": 3}
    published = compiled(*found, recipe=WORLD)
    others = {"page4": 4, "page5": 4, "page6": 4, "page7": 4}
    assert pieces(published, "a") == own | {"page1": 3, "page2": 3, "page3": 3} | others
    assert published.manifest["statistics"]["pieces"] == {"tier 0": 5, "tier 2": 2, "tier 3": 3, "tier 4": 8}
    assert verify(published.path, world.blobs).faults == ()


def test_another_corpus_is_no_sibling(compiled: Any, found: list[Any]) -> None:
    elsewhere = found[2].trajectory.task.model_copy(update={"world": {"corpus": "another"}})
    other = found[2].model_copy(update={"trajectory": found[2].trajectory.model_copy(update={"task": elsewhere})})
    assert set(pieces(compiled(found[0], other, recipe=WORLD), "a")) == {"orrin", "page0"}


def test_a_page_that_holds_the_answer_or_is_gold_is_no_distractor(compiled: Any, world: Any) -> None:
    holds = [("mirror", "The light of Orrin, they say, was lit in Spring 1872."), ("near", "Lit in spring 18725.")]
    rows = [attempt(world, "a", "t1", PAGES[:1]), attempt(world, "b", "t1", holds)]
    assert pieces(compiled(*rows, recipe=TASK), "a") == {"orrin": 0, "page0": 0, "near": 3}


def test_an_answer_that_is_neutralised_is_found_in_neutralised_pages(compiled: Any, world: Any) -> None:
    holds = [("mirror", "They write <video> poster on it."), ("near", "They write <video> posters on it.")]
    rows = [attempt(world, "a", "t1", PAGES[:1], answer="<video> poster"), attempt(world, "b", "t1", holds, answer="x")]
    assert pieces(compiled(*rows, recipe=TASK), "a") == {"orrin": 0, "page0": 0, "near": 3}


def test_the_verifier_finds_a_siblings_page_that_holds_the_answer(compiled: Any, found: list[Any], world: Any) -> None:
    published = compiled(*found, recipe=TASK)
    path = published.path / "canonical" / "search_agent-00000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    (row,) = [row for row in rows if row["trajectory"] == "a"]
    next(piece for piece in row["pieces"] if piece["source"] == "orrin")["tier"] = 3
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    faults = [f.what for f in verify(published.path, world.blobs).faults if "sha256" not in f.what]
    assert faults == [
        "piece orrin: role needed in tier 3",
        "piece orrin: it comes from another trajectory and holds the answer",
    ]


def test_siblings_fill_up_to_the_wanted_length_and_evidence_always_stays(compiled: Any, found: list[Any]) -> None:
    def tokens(recipe: Recipe) -> int:
        rows = pq.read_table(compiled(*found, recipe=recipe).path / "canonical").to_pylist()
        return next(int(row["tokens"]) for row in rows if row["trajectory"] == "a")

    bare, full = tokens(TASK.model_copy(update={"fill_tokens": 1})), tokens(WORLD)
    assert bare == tokens(Recipe())
    middle = WORLD.model_copy(update={"fill_tokens": (bare + full) // 2})
    assert (bare + full) / 2 - 200 < tokens(middle) <= (bare + full) / 2
    assert tokens(middle.model_copy(update={"fill_tokens": 512})) <= 512


def test_order_and_processes_change_nothing(found: list[Any], world: Any, tmp_path: Path) -> None:
    recipe = WORLD.model_copy(update={"fill_tokens": 700})
    versions = {
        compile_dataset(recipe, rows, world.blobs, tmp_path / str(n), "demo", processes=processes).version
        for n, (rows, processes) in enumerate(((found, 1), (found[::-1], 2), (iter(found), 1)))
    }
    assert len(versions) == 1


def test_a_files_text_comes_from_the_tasks_own_tree(compiled: Any, world: Any) -> None:
    """Another task's tree holds the mended file, and a file that this one lacks."""
    base = {
        "pkg/area.py": b"def area(w, h):\n    return w + h\n",
        "pkg/shape.py": b"from pkg.area import area\n",
        "pkg/round.py": b"PI = 3\n",
        "tests/test_area.py": b"assert True\n",
    }
    later = base | {
        "pkg/area.py": b"def area(w, h):\n    return w * h\n",
        "pkg/round.py": b"PI = 3.14\n",
        "pkg/new.py": b"N",
    }
    patch = "--- a/pkg/round.py\n+++ b/pkg/round.py\n@@ -1,1 +1,1 @@\n-PI = 3.14\n+PI = 3.1416\n"
    looked = [world.file(path, data) for path, data in later.items()]
    hidden = {"tests/test_area.py": "0" * 64}
    recipe = Recipe(swe=SwePolicy(siblings="world"))
    published = compiled(
        world.swe("w1", files=base, hidden=hidden),
        world.swe("w2", files=later, patch=patch, inspected=looked),
        recipe=recipe,
    )
    assert pieces(published, "w1") == {"pkg/area.py": 0, "pkg/shape.py": 4, "pkg/round.py": 4}
    (row,) = [r for r in pq.read_table(published.path / "canonical").to_pylist() if r["trajectory"] == "w1"]
    assert "return w * h" not in row["prompt"]
    assert "3.14" not in row["prompt"]


def test_tables_that_others_read_come_before_near_ones(compiled: Any, world: Any) -> None:
    rows = [world.sql("q1"), world.sql("q2", gold_sql="SELECT count(*) FROM port", rows=((1,),), read=("port",))]
    assert pieces(compiled(*rows, recipe=Recipe(sql=SqlPolicy(siblings="world"))), "q1") == {"ferry": 0, "port": 4}
    again = rows[1].trajectory.task.model_copy(update={"id": rows[0].trajectory.task.id})
    rows[1] = rows[1].model_copy(update={"trajectory": rows[1].trajectory.model_copy(update={"task": again})})
    both = Recipe(sql=SqlPolicy(siblings="task", distractors="near"))
    assert pieces(compiled(*rows, recipe=both), "q1") == {"ferry": 0, "port": 3}
    assert pieces(compiled(rows[0], recipe=both), "q1") == {"ferry": 0, "port": 4}
