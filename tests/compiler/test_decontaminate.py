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


PAGE = "Orrin is an island. {} Its lighthouse was lit in spring 1872."
THIRTEEN = "the tapir walks at night along the river and eats the leaves that"
SHORT = "Which tapir walked furthest along the river at night?"


def contaminated(compiled: Any, world: Any, page: str, wanted: Recipe) -> bool:
    published = compiled(world.search(opened=[("orrin", PAGE.format(page))]), recipe=wanted)
    return bool(published.accounts.trajectories_dropped == {"contaminated": 1})


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (THIRTEEN, True),
        (" ".join(THIRTEEN.split()[1:]), False),
        (" ".join(THIRTEEN.split()[:-1]), False),
        (THIRTEEN.replace("night", "noon"), False),
        (THIRTEEN.replace(" ", ",\n  -- "), True),
        (THIRTEEN.upper(), True),
        ("".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in THIRTEEN), True),
        (
            THIRTEEN.replace("river", "ri\u00adver").replace("leaves", "\ufeffle\u200baves").replace("at", "a\u2060t"),
            True,
        ),
        (THIRTEEN.replace("night", "_night_").replace("river", "__river__"), True),
        (THIRTEEN.replace("the river", "the_river"), False),
    ],
    ids=[
        "whole",
        "without the first",
        "without the last",
        "one changed",
        "broken up",
        "capitals",
        "full width",
        "signs that nobody sees",
        "emphasis",
        "a name",
    ],
)
def test_thirteen_words_in_a_row_are_an_overlap(
    compiled: Any, world: Any, tmp_path: Path, page: str, found: bool
) -> None:
    (tmp_path / "item.txt").write_text(ITEM)
    assert contaminated(compiled, world, page, recipe(tmp_path / "item.txt")) is found


@pytest.mark.parametrize(
    ("page", "found"),
    [(SHORT, True), (SHORT.replace("furthest", "far"), False), (" ".join(SHORT.split()[1:]), False)],
)
def test_a_short_item_is_an_overlap_where_it_stands_whole(
    compiled: Any, world: Any, tmp_path: Path, page: str, found: bool
) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"question": SHORT, "answer": "Orrin"}) + "\n\n")
    assert contaminated(compiled, world, page, recipe(tmp_path / "items.jsonl")) is found
    long_ones = Recipe(decontamination=Decontamination(files=(str(tmp_path / "items.jsonl"),), shortest=10))
    assert not contaminated(compiled, world, page, long_ones)


@pytest.mark.parametrize(("signs", "found"), [(13, True), (12, False)])
def test_scripts_without_spaces_are_counted_by_sign(
    compiled: Any, world: Any, tmp_path: Path, signs: int, found: bool
) -> None:
    item = "灯台は千八百七十二年の春に初めて灯された島の岬に立つ"
    (tmp_path / "item.txt").write_text(item)
    assert contaminated(compiled, world, item[3 : 3 + signs], recipe(tmp_path / "item.txt")) is found


def test_an_item_in_two_pieces_is_none(compiled: Any, world: Any, tmp_path: Path) -> None:
    (tmp_path / "item.txt").write_text(ITEM)
    words = ITEM.split()
    halves = [("orrin", " ".join(words[:11])), ("light", " ".join(words[11:]))]
    assert compiled(world.search(opened=halves), recipe=recipe(tmp_path / "item.txt")).accounts.published == 1


def test_a_question_of_an_evaluation_set_drops_its_example(compiled: Any, world: Any, tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text(json.dumps([{"question": SHORT}], indent=2))
    asked = world.search("s2", question=SHORT)
    published = compiled(world.search(), asked, recipe=recipe(tmp_path / "items.json"))
    assert published.accounts.trajectories_dropped == {"contaminated": 1}


@pytest.mark.parametrize("name", ["items.JSONL", "items.ndjson", "items.Json", "items.PARQUET"])
def test_rows_are_read_as_rows_however_their_files_name_is_written(
    compiled: Any, world: Any, tmp_path: Path, name: str
) -> None:
    row = {"prompt": THIRTEEN.replace(" ", "\n")}
    if name.endswith("PARQUET"):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / name)
    else:
        (tmp_path / name).write_text(json.dumps(row))
    assert contaminated(compiled, world, THIRTEEN, recipe(tmp_path / name))


def test_a_file_that_changes_is_read_again(compiled: Any, world: Any, tmp_path: Path) -> None:
    path = tmp_path / "item.txt"
    path.write_text("Nothing of this stands anywhere.")
    assert not contaminated(compiled, world, THIRTEEN, recipe(path))
    path.write_text(ITEM)
    assert contaminated(compiled, world, THIRTEEN, recipe(path))


def test_a_file_that_cannot_be_read_is_named(compiled: Any, world: Any, tmp_path: Path) -> None:
    for name, data in {"torn.jsonl": b'{"a": 1}\n{"b', "torn.parquet": b"PAR1", "binary.txt": b"\xff\xfe\x00"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(RecipeError, match=rf"{name} cannot be read"):
            compiled(world.search(), recipe=recipe(tmp_path / name))
