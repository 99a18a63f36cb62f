"""Duplicates, caps and mixtures: decided over the whole dataset, each drop with its reason."""

from typing import Any

import pytest

from compiler.recipe import NearDuplicates, Recipe
from compiler.sketch import EMPTY_SKETCH, similarity, sketch, union

PAGE = " ".join(f"The harbour log of day {n} tells of wind from the {d}." for n in range(80) for d in ("west", "north"))


def test_near_identical_trajectories_are_one_example(compiled: Any, world: Any) -> None:
    near = world.search("s2", "In which year was the lighthouse of Orrin first lit?", opened=[("orrin", PAGE + " x")])
    published = compiled(world.search(opened=[("orrin", PAGE)]), near)
    assert published.accounts.examples_dropped == {"near_duplicate": 1}
    kept = compiled(world.search(opened=[("orrin", PAGE)]), near, recipe=Recipe(near_duplicates=None))
    assert kept.accounts.published == 2


@pytest.mark.parametrize(
    "other",
    [
        {"question": "Who painted the tower of Orrin in red and white?"},
        {"answer": "in autumn 1872"},
        {"opened": [("orrin", PAGE[: len(PAGE) // 2])]},
    ],
)
def test_a_near_miss_is_no_duplicate(compiled: Any, world: Any, other: dict[str, Any]) -> None:
    assert (
        compiled(
            world.search(opened=[("orrin", PAGE)]), world.search("s2", **{"opened": [("orrin", PAGE)], **other})
        ).accounts.examples_dropped
        == {}
    )


def test_contexts_alone_decide_when_asked(compiled: Any, world: Any) -> None:
    pair = [world.search(opened=[("orrin", PAGE)]), world.search("s2", "Another?", opened=[("orrin", PAGE)])]
    recipe = Recipe(near_duplicates=NearDuplicates(question=0))
    assert compiled(*pair, recipe=recipe).accounts.examples_dropped == {"near_duplicate": 1}


def test_caps_bound_examples_of_a_group_and_of_a_source(compiled: Any, world: Any) -> None:
    rows = [world.search(f"s{n}", f"Question {n} about something?") for n in range(5)]
    assert compiled(*rows, recipe=Recipe(group_cap=2)).accounts.examples_dropped == {"group_cap": 3}
    assert compiled(*rows, recipe=Recipe(source_cap=3)).accounts.examples_dropped == {"source_cap": 2}


def test_a_mixture_is_the_largest_in_its_proportions(compiled: Any, world: Any) -> None:
    rows = [world.search(f"s{n}", f"Question {n} about something?") for n in range(6)]
    rows += [world.sql(f"q{n}", rows=((n,),)) for n in range(2)]
    published = compiled(*rows, world.swe(), recipe=Recipe(mixture={"search": 2, "sql": 1}))
    assert published.examples == {"search_agent": 4, "sql_agent": 2}
    assert published.accounts.examples_dropped == {"mixture": 3}


def test_sketches_of_unions_are_unions_of_sketches() -> None:
    a, b = PAGE.encode(), b"Something else altogether, told differently. " * 30
    assert (
        union([sketch(a + b"\n"), sketch(b)]) == sketch(a + b"\n" + bytes(0) + b)
        or similarity(union([sketch(a + b"\n"), sketch(b)]), sketch(a + b"\n" + b)) > 0.95
    )
    assert similarity(sketch(a), sketch(a)) == 1.0
    assert similarity(sketch(a), sketch(b)) < 0.1
    assert union([]) == EMPTY_SKETCH == sketch(b"")
