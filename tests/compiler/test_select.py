"""A recipe's SELECT reads the view of trajectories and nothing else."""

import pytest

from compiler.errors import RecipeError
from compiler.recipe import parse_recipe
from compiler.select import check_select, run_select

ROWS = [
    {"id": "a", "environment": "swe", "turns": 3, "verdict": "right"},
    {"id": "b", "environment": "swe", "turns": 9, "verdict": "wrong"},
    {"id": "c", "environment": "sql", "turns": 9, "verdict": "right"},
]


def test_ids_come_in_the_querys_order_each_once() -> None:
    assert run_select("select id from trajectories where turns > 5 order by id desc", ROWS) == ["c", "b"]
    twice = "with x as (select * from trajectories) select id from x union all select id from x order by id"
    assert run_select(twice, iter(ROWS)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select id from read_csv('/etc/passwd')", "only the view trajectories"),
        ("select id from '/etc/passwd'", "only the view trajectories"),
        ("select id from main.other", "only the view trajectories"),
        ("select content as id from read_text('/etc/passwd')", "only the view trajectories"),
        ("drop table trajectories", "one SELECT"),
        ("select 1; select 2", "one SELECT"),
        ("copy trajectories to 'x'", "one SELECT"),
        ("selec id", "select:"),
        ("select nothing from trajectories", "nothing"),
        ("select id, run from trajectories", "one column"),
        ("select run from trajectories", "ids of the view; None is none"),
        ("select 'z' as id from trajectories", "'z' is none"),
    ],
)
def test_anything_else_is_refused_in_words(sql: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        run_select(sql, ROWS)


def test_a_recipe_names_the_column_that_is_not_there_before_anything_runs() -> None:
    with pytest.raises(RecipeError, match=r'r\.yaml: select: .*"turn" not found.*Candidate bindings: "turns"'):
        parse_recipe({"select": "select id from trajectories where turn > 5"}, "r.yaml")
    endless = "with recursive x as (select 1 as n union all select n + 1 from x) select id from trajectories, x"
    check_select(endless)  # it is read, not run
