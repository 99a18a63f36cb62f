"""Evaluation items never get into a dataset."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compiler.errors import RecipeError
from compiler.recipe import Decontamination, Recipe

ITEM = "Write a poem about tapirs: the tapir walks at night along the river and eats the leaves that fall from trees."
EDGES = "Perform a BFS from node a1 with depth two over this graph of edges: a1 -> b2 b2 -> c3 c3 -> d4"


def recipe(path: Path) -> Recipe:
    return Recipe(decontamination=Decontamination(files=(str(path),)))


@pytest.fixture(params=["mrcr.parquet", "graphwalks.jsonl", "plain.txt"])
def evaluation(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / request.param
    if path.suffix == ".parquet":
        messages = json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ITEM}])
        pq.write_table(pa.Table.from_pylist([{"prompt": messages, "answer": "x", "n_needles": 2}]), path)
        return path, ITEM
    if path.suffix == ".jsonl":
        path.write_text(json.dumps({"prompt": EDGES, "answer_nodes": ["c3"], "problem_type": "bfs"}) + "\n")
        return path, EDGES
    path.write_text(ITEM)
    return path, ITEM


def test_an_evaluation_item_in_a_needed_page_drops_the_example(
    compiled: Any, world: Any, evaluation: tuple[Path, str]
) -> None:
    path, item = evaluation
    page = world.search("s2", opened=[("orrin", f"Orrin. {item.upper()} More.")])
    published = compiled(world.search("s1"), page, recipe=recipe(path))
    assert published.accounts.trajectories_dropped == {"contaminated": 1}
    assert published.accounts.published == 1


def test_a_contaminated_distractor_is_left_out(compiled: Any, world: Any, evaluation: tuple[Path, str]) -> None:
    path, item = evaluation
    published = compiled(world.search(listed=[("boats", item), ("gulls", "Gulls.")]), recipe=recipe(path))
    (row,) = pq.read_table(published.path / "canonical").to_pylist()
    assert json.loads(row["left_out"]) == {"contaminated": 1}
    assert {p["source"] for p in row["pieces"]} == {"orrin", "light", "gulls"}


def test_a_shorter_overlap_is_no_contamination(compiled: Any, world: Any, evaluation: tuple[Path, str]) -> None:
    path, item = evaluation
    half = " ".join(item.split()[:9])
    assert compiled(world.search(opened=[("orrin", half)]), recipe=recipe(path)).accounts.published == 1


def test_an_absent_evaluation_file_is_named(compiled: Any, world: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.jsonl cannot be read"):
        compiled(world.search(), recipe=recipe(tmp_path / "none.jsonl"))
