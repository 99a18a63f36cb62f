"""Duplicates, caps and mixtures: decided over the whole dataset, each drop with its reason."""

import random
from typing import Any

import pyarrow.parquet as pq
import pytest

from compiler.recipe import NearDuplicates, Recipe
from compiler.sketch import EMPTY_SKETCH, similarity, sketch, union, word_sketch

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


def test_questions_alone_decide_when_asked(compiled: Any, world: Any) -> None:
    """Two attempts at one question that visited different pages."""
    asked = "In which year was the old lighthouse of the island of Orrin lit for the first time by its keeper?"
    again = asked.replace("lit for the first", "lit, for the very first")
    pair = [world.search(question=asked), world.search("s2", again, opened=[("orrin", PAGE)])]
    assert compiled(*pair).accounts.examples_dropped == {}
    alone = Recipe(near_duplicates=NearDuplicates(context=0))
    assert compiled(*pair, recipe=alone).accounts.examples_dropped == {"near_duplicate": 1}
    other = world.search(
        "s2", asked.replace("lighthouse", "harbour").replace("keeper", "crew"), opened=[("o", PAGE)], gold=()
    )
    assert compiled(pair[0], other, recipe=alone).accounts.examples_dropped == {}
    another_answer = world.search("s2", again, answer="in autumn 1872", opened=[("orrin", PAGE)])
    assert compiled(pair[0], another_answer, recipe=alone).accounts.examples_dropped == {}


def test_contexts_of_any_answer_are_compared_when_asked(compiled: Any, world: Any) -> None:
    pair = [
        world.search(opened=[("orrin", PAGE)]),
        world.search("s2", "Another?", answer="the west", opened=[("orrin", PAGE + " x")]),
    ]
    assert compiled(*pair).accounts.examples_dropped == {}
    wanted = Recipe(near_duplicates=NearDuplicates(question=0, any_answer=True))
    assert compiled(*pair, recipe=wanted).accounts.examples_dropped == {"near_duplicate": 1}


def test_whatever_is_alike_by_a_lower_bound_is_found(compiled: Any, world: Any) -> None:
    """Ten pairs of pages of which two thirds are the same."""
    rng = random.Random(1)
    rows = []
    for n in range(10):
        page = [f"{rng.randrange(1 << 32):x}" for _ in range(1200)]
        other = page[:960] + [f"{rng.randrange(1 << 32):x}" for _ in range(240)]
        rows += [
            world.search(f"{n}-{i}", f"What is {n}?", opened=[("orrin", " ".join(w))])
            for i, w in enumerate((page, other))
        ]
    half = Recipe(near_duplicates=NearDuplicates(context=0.5))
    assert compiled(*rows).accounts.published == 20
    assert compiled(*rows, recipe=half).accounts.examples_dropped == {"near_duplicate": 10}


def test_near_duplicates_must_be_alike_in_something() -> None:
    with pytest.raises(ValueError, match="context or question must be above 0"):
        NearDuplicates(context=0, question=0)


def test_word_sketches_estimate_the_jaccard_index() -> None:
    for shared in (0, 20, 50, 80, 100):
        a = {f"w{n}" for n in range(100)}
        b = {f"w{n}" for n in range(100 - shared, 200 - shared)}
        estimate = sum(x == y for x, y in zip(word_sketch(a), word_sketch(b), strict=True)) / 64
        assert abs(estimate - shared / (200 - shared)) < 0.17
    assert word_sketch(set()) == word_sketch(set())


def test_repositories_and_databases_are_capped_without_a_group_of_their_own(compiled: Any, world: Any) -> None:
    """Tasks that name no group belong to their repository, or to their database."""
    patch = (
        "--- a/pkg/area.py\n+++ b/pkg/area.py\n@@ -1,2 +1,2 @@\n def area(w, h):\n-    return w + h\n+    return {}\n"
    )

    def ungrouped(candidate: Any, **more: str) -> Any:
        task = candidate.trajectory.task.model_copy(update={"group": "", **more})
        return candidate.model_copy(update={"trajectory": candidate.trajectory.model_copy(update={"task": task})})

    swe = [ungrouped(world.swe(f"w{n}", patch=patch.format(n))) for n in range(4)]
    sql = [ungrouped(world.sql(f"q{n}", rows=((n,),)), question=f"How many, {n}?") for n in range(4)]
    for candidates, groups in ((swe, {"pkg"}), (sql, {"d"})):
        published = compiled(*candidates, recipe=Recipe(group_cap=3))
        assert published.accounts.examples_dropped == {"group_cap": 1}
        assert compiled(*candidates, recipe=Recipe(group_cap=4)).accounts.examples_dropped == {}
        rows = pq.read_table(published.path / "canonical").to_pylist()
        assert {row["group"] for row in rows} == groups


def test_a_cap_counts_what_is_kept_and_by_environment(compiled: Any, world: Any) -> None:
    """What was dropped as a duplicate uses up no place; one name in two environments is two groups."""
    search = [world.search(f"s{n}", f"Question {n // 2} about something?") for n in range(4)]
    published = compiled(*search, recipe=Recipe(group_cap=2))
    assert published.accounts.examples_dropped == {"duplicate": 2}
    table = world.sql("q1")
    named = table.trajectory.task.model_copy(update={"group": "g"})
    table = table.model_copy(update={"trajectory": table.trajectory.model_copy(update={"task": named})})
    assert compiled(*search, table, recipe=Recipe(group_cap=2)).accounts.published == 3


def test_a_source_cap_counts_needed_pieces_only(compiled: Any, world: Any) -> None:
    rows = [
        world.search(
            f"s{n}", f"Question {n} about something?", opened=[(f"p{n}", f"Page {n}.")], gold=(), listed=[("l", "L.")]
        )
        for n in range(3)
    ]
    assert compiled(*rows, recipe=Recipe(source_cap=1)).accounts.examples_dropped == {}
    shared = [*rows, world.search("s9", "Question 9?", opened=[("q", "Q."), ("p0", "Page 0.")], gold=())]
    assert compiled(*shared, recipe=Recipe(source_cap=1)).accounts.examples_dropped == {"source_cap": 1}


def _paragraphs(rng: random.Random, count: int, signs: int) -> list[str]:
    return ["".join(chr(rng.randrange(0x4E00, 0x8000)) for _ in range(signs)) for _ in range(count)]


def test_pages_in_a_script_without_spaces_are_compared_by_what_they_say(compiled: Any, world: Any) -> None:
    rng = random.Random(1)
    page = _paragraphs(rng, 12, 300)
    begins_alike = [p[:20] + q for p, q in zip(page, _paragraphs(rng, 12, 280), strict=True)]
    told_again = ["又" + p for p in page]
    question = "奥林岛的旧灯塔是在哪一年由它的看守人第一次点亮的呢"
    asked = [question, question, question.replace("点亮", "点燃")]
    rows = [
        world.search(f"s{n}", q, opened=[("灯塔", "\n".join(p))], gold=(), listed=())
        for n, (q, p) in enumerate(zip(asked, (page, begins_alike, told_again), strict=True))
    ]
    assert compiled(*rows[:2]).accounts.examples_dropped == {}
    assert compiled(rows[0], rows[2]).accounts.examples_dropped == {"near_duplicate": 1}
