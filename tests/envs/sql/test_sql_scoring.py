"""Scorers say yes to the same answer in other clothes, and no to a near miss."""

from typing import Any

import pytest

from envs.errors import TaskError
from envs.score import Score, Submission
from envs.sql.scoring import SCORERS, rows_text, score_submission
from envs.sql.world import SqlReference

Rows = list[tuple[Any, ...]]


def verdict(scorer: str, gold: Rows, given: Rows, ordered: bool = False) -> bool:
    reference = SqlReference(rows=tuple(gold), ordered=ordered, scorer=scorer)
    return score_submission(reference, Submission(kind="rows", text="", rows=tuple(given))).right


SAME: dict[str, tuple[Rows, Rows]] = {
    "identical": ([(1, "a"), (2, "b")], [(1, "a"), (2, "b")]),
    "rows in another order": ([(1, "a"), (2, "b")], [(2, "b"), (1, "a")]),
    "columns in another order": ([(1, "a"), (2, "b")], [("a", 1), ("b", 2)]),
    "both empty": ([], []),
    "null": ([(None, 1)], [(1, None)]),
    "integer and float": ([(3,)], [(3.0,)]),
    "number kept as text": ([(2013,)], [("2013",)]),
    "decimal digits": ([("12.50",)], [(12.5,)]),
    "truth as number": ([(True,)], [(1,)]),
    "midnight and date": ([("2024-01-05",)], [("2024-01-05 00:00:00",)]),
    "moment with T": ([("2024-01-05T10:00:01",)], [("2024-01-05 10:00:01",)]),
    "within tolerance": ([(1 / 3, "x"), (2 / 3, "y")], [(0.66666667, "y"), (0.33333333, "x")]),
    "duplicates kept": ([(1,), (1,), (2,)], [(1,), (2,), (1,)]),
    "a moment's fraction": ([("2024-01-05 10:00:01.500000",)], [("2024-01-05 10:00:01.5",)]),
    "a moment in UTC": ([("2024-01-05 10:00:01.500000+00:00",)], [("2024-01-05T10:00:01.5",)]),
    "what is left of a sum that is 0": ([(0,)], [(0.1 + 0.2 - 0.3,)]),
    "nested": ([([1, 2],)], [(["1", 2.0],)]),
    "nested fractions": ([([0.1 + 0.2],)], [([0.3],)]),
    "a list as DuckDB prints it": ([(["a, b", "c"],)], [("['a, b', c]",)]),
    "interchangeable columns": ([(1, 2, 1), (2, 1, 2)], [(1, 1, 2), (2, 2, 1)]),
}
OTHER: dict[str, tuple[Rows, Rows]] = {
    "another value": ([(1, "a")], [(1, "b")]),
    "letter case": ([("Ada",)], [("ada",)]),
    "a row fewer": ([(1,), (2,)], [(1,)]),
    "a row doubled": ([(1,), (2,), (2,)], [(1,), (1,), (2,)]),
    "a column more": ([(1,)], [(1, 2)]),
    "a column fewer": ([(1, 2)], [(1,)]),
    "columns mixed between rows": ([(1, "a"), (2, "b")], [(1, "b"), (2, "a")]),
    "values swapped in one row": ([(1, 2), (3, 4)], [(2, 1), (3, 4)]),
    "beyond tolerance": ([(1.0001,)], [(1.0002,)]),
    "digits that no float holds": ([("9" * 399, 1.5)], [("9" * 398, 1.5)]),
    "large integers apart by one": ([(100000001,)], [(100000002,)]),
    "a text and the parts of it": ([(["a, b"],)], [(["a", "b"],)]),
    "a list of lists and one list": ([([[1], [2]],)], [(["[1]", "[2]"],)]),
    "null and zero": ([(None,)], [(0,)]),
    "null and empty text": ([(None,)], [("",)]),
    "leading zeros": ([("007",)], [(7,)]),
    "empty and a null row": ([], [(None,)]),
    "a moment elsewhere": ([("2024-01-05 10:00:01+02:00",)], [("2024-01-05 10:00:01",)]),
    "very small numbers": ([(1e-9,)], [(2e-9,)]),
    "another fraction": ([("2024-01-05 10:00:01.500000",)], [("2024-01-05 10:00:01.05",)]),
    "rows of different lengths": ([(1, 2), (3, 4)], [(1, 2), (3,)]),
    "a chain of close numbers": ([(1.0,), (1.0,)], [(1.0,), (1.0000015,)]),
}


@pytest.mark.parametrize("case", SAME)
def test_spider_says_yes(case: str) -> None:
    assert verdict("spider", *SAME[case])


@pytest.mark.parametrize("case", OTHER)
def test_spider_says_no(case: str) -> None:
    assert not verdict("spider", *OTHER[case])


def test_order_counts_only_where_the_gold_orders() -> None:
    gold, turned = [(1, "a"), (2, "b")], [("b", 2), ("a", 1)]
    assert verdict("spider", gold, turned)
    assert not verdict("spider", gold, turned, ordered=True)
    assert verdict("spider", gold, [("a", 1), ("b", 2)], ordered=True)


def test_bird_compares_sets_with_columns_as_they_stand() -> None:
    gold: Rows = [(1, "a"), (2, "b")]
    assert verdict("bird", gold, [(2, "b"), (1, "a"), (1, "a")], ordered=True)
    assert not verdict("bird", gold, [("a", 1), ("b", 2)])
    assert not verdict("bird", gold, [(1, "a")])
    assert not verdict("bird", [], [(1,)])


def test_half_of_many_close_numbers_is_not_the_set_of_all_of_them() -> None:
    prices = [(100_000 + cents / 20,) for cents in range(10_000)]
    assert verdict("bird", prices, [(price * (1 + 1e-9),) for (price,) in reversed(prices)])
    assert not verdict("bird", prices, prices[:5_000])
    assert not verdict("bird", prices[:5_000], prices)


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_large_wrong_answer_is_told_as_soon_as_a_right_one(scorer: str) -> None:
    """Every row wrong, and every row near one of the gold's: neither may be compared with each other row."""
    numbers = range(30_000)
    assert not verdict(scorer, [(n, "a") for n in numbers], [(-n - 1, "a") for n in numbers])
    gold = [(100_000 + n / 100, n % 3) for n in numbers]
    assert not verdict(scorer, gold, [(price, (kind + 1) % 3) for price, kind in gold[1:]] + [(1.5, 1)])


def test_many_columns_are_compared_in_time() -> None:
    gold = [tuple(range(200)) for _ in range(100)]
    assert verdict("spider", gold, [tuple(reversed(row)) for row in gold])


def test_values_compares_the_cells_alone() -> None:
    gold: Rows = [("Ada", 30.5)]
    assert verdict("values", gold, [("30.50",), ("ada",)])
    assert not verdict("values", gold, [("ada",)])
    assert not verdict("values", gold, [("ada",), (30.4,)])


@pytest.mark.parametrize("text", ['[["Ada", 30.5]]', '["Ada", 30.5]', "Ada, 30.5", "ada\n30.50\n", "30.5; Ada"])
def test_an_answer_given_as_text_is_read(text: str) -> None:
    reference = SqlReference(rows=(("Ada", 30.5),), scorer="values")
    assert score_submission(reference, Submission(kind="text", text=text)).right


def test_nothing_handed_in_is_no_answer_and_not_wrong() -> None:
    reference = SqlReference(rows=((1,),))
    assert score_submission(reference, Submission(kind="text", text="  ")) == Score(
        scorer="sql/spider", version="1", value=0.0, verdict="no_answer", words="no rows were handed in"
    )


def test_an_empty_result_is_an_answer() -> None:
    assert verdict("spider", [], [])
    assert not verdict("spider", [(1,)], [])


def test_words_say_what_differed() -> None:
    def words(gold: Rows, given: Rows, ordered: bool = False) -> str:
        reference = SqlReference(rows=tuple(gold), ordered=ordered)
        return score_submission(reference, Submission(kind="rows", text="", rows=tuple(given))).words

    assert words([(1, 2)], [(1,)]) == "expected 2 columns, got 1"
    assert words([(1,), (2,)], [(1,)]) == "expected 2 rows, got 1"
    assert words([(1,)], [(2,)]) == "other rows than expected; missing such as [(1,)], not expected such as [(2,)]"
    assert "another order" in words([(1,), (2,)], [(2,), (1,)], ordered=True)


def test_a_reference_that_cannot_judge_is_a_task_error() -> None:
    submission = Submission(kind="rows", text="")
    with pytest.raises(TaskError, match="no gold rows"):
        score_submission(SqlReference(gold_sql="SELECT 1"), submission)
    with pytest.raises(TaskError, match="known: bird, spider, values"):
        score_submission(SqlReference(rows=(), scorer="exact"), submission)


def test_many_interchangeable_columns_are_compared_in_time() -> None:
    gold = [tuple((row * 7 + column * column) % 2 for column in range(24)) for row in range(40)]
    given = [tuple(reversed(row)) for row in gold]
    near = [*given[:-1], tuple(1 - cell for cell in given[-1])]
    assert verdict("spider", gold, given)
    assert not verdict("spider", gold, near)


def test_every_scorer_names_its_source() -> None:
    assert {name: bool(scorer.__doc__) for name, scorer in SCORERS.items()} == {
        "spider": True,
        "bird": True,
        "values": True,
    }


def test_the_answer_as_a_string_is_canonical_json() -> None:
    assert rows_text([(1, "a", None), (2.5, "b", [1])]) == '[[1,"a",null],[2.5,"b",[1]]]'
