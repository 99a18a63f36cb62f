"""The SQL policy as a pure function, and the mutations of a query."""

from typing import Any

import pytest

from api.oracle.chance import Chance
from api.oracle.moves import Call, Moment, Step
from api.oracle.sql import gold_in_duckdb, rows_shown, sql_policy, tables_of
from api.oracle.sql_mutants import mutants
from envs.task import Reference, Task

GOLD = "SELECT T1.name FROM Vessel AS T1 JOIN sailing AS T2 ON T1.id = T2.vessel WHERE T2.year > 1990"
LISTED = "Tables of ferries:\nvessel (7 rows)\nSailing (90 rows)\nport (5 rows)"
BLOB = {"hash": "0", "size": 0}


def moment(*steps: Step, sql: str = GOLD, dialect: str | None = None, **more: Any) -> Moment:
    world = {"database": "ferries", "tables": {"vessel": BLOB, "Sailing": BLOB, "port": BLOB}}
    return Moment(
        task=Task(id="q", environment="sql", question="Which?", world=world, dialect=dialect),
        reference=Reference(data={"gold_sql": sql}),
        steps=steps,
        turn=len(steps),
        chance=Chance(("0", "q")),
        **more,
    )


def step(turn: int, name: str, text: str, **arguments: Any) -> Step:
    return Step(name, arguments, text, turn)


LOOKED = (
    step(0, "list_tables", LISTED),
    step(1, "describe_table", "vessel: 7 rows", table="vessel"),
    step(1, "describe_table", "Sailing: 90 rows", table="Sailing"),
)
RAN = step(2, "run_sql", "name\nKittiwake\n(1 row)", sql=GOLD)


def test_it_lists_the_tables_first() -> None:
    assert sql_policy(moment()).calls == (Call("list_tables", {}),)


def test_it_describes_the_needed_tables_as_the_database_spells_them() -> None:
    assert sql_policy(moment(LOOKED[0])).calls == (
        Call("describe_table", {"table": "vessel"}),
        Call("describe_table", {"table": "Sailing"}),
    )


def test_it_tries_its_query_and_answers_with_it() -> None:
    assert sql_policy(moment(*LOOKED)).calls == (Call("run_sql", {"sql": GOLD}),)
    assert sql_policy(moment(*LOOKED, RAN)).calls == (Call("answer", {"sql": GOLD}),)


def test_a_refused_answer_is_not_handed_in_again() -> None:
    refused = step(3, "answer", "Error: no. This is not handed in; answer with another query.", sql=GOLD)
    assert sql_policy(moment(*LOOKED, RAN, refused)).calls == ()


def test_gold_of_another_dialect_is_translated() -> None:
    assert gold_in_duckdb('SELECT `a` FROM t WHERE b = "x";', "mysql") == "SELECT \"a\" FROM t WHERE b = 'x'"


def test_tables_are_those_of_the_database_without_ctes() -> None:
    assert tables_of("WITH x AS (SELECT * FROM a) SELECT * FROM x, b WHERE c IN (SELECT c FROM a)") == ("b", "a")


def test_a_detour_is_one_look_at_a_table_that_is_not_needed() -> None:
    strayed = sql_policy(moment(*LOOKED, detours=1.0))
    assert strayed.calls == (Call("sample_rows", {"table": "port", "n": 3}),)
    looked = step(2, "sample_rows", "id\n1\n(1 row)", table="port", n=3)
    assert sql_policy(moment(*LOOKED, looked, detours=1.0)).calls == (Call("run_sql", {"sql": GOLD}),)


def test_a_wrong_sample_answers_with_a_mutant_only_when_its_rows_differ() -> None:
    first, second, *_ = mutants(GOLD, Chance(("0", "q")))
    same = step(3, "run_sql", "other_name\nKittiwake\n(1 row)\nNote: run as DuckDB SQL: x", sql=first)
    failed = step(3, "run_sql", "Error: no such function", sql=first)
    other = step(3, "run_sql", "name\nPuffin\n(1 row)", sql=first)
    assert sql_policy(moment(*LOOKED, RAN, wrong=True)).calls == (Call("run_sql", {"sql": first}),)
    assert sql_policy(moment(*LOOKED, RAN, same, wrong=True)).calls == (Call("run_sql", {"sql": second}),)
    assert sql_policy(moment(*LOOKED, RAN, failed, wrong=True)).calls == (Call("run_sql", {"sql": second}),)
    assert sql_policy(moment(*LOOKED, RAN, other, wrong=True)).calls == (Call("answer", {"sql": first}),)


def test_rows_are_compared_in_no_order() -> None:
    assert rows_shown("a\n1\n2\n(2 rows)") == rows_shown("b\n2\n1\n(2 rows)")
    assert rows_shown("a\n1\n(1 row)") != rows_shown("a\n2\n(1 row)")


@pytest.mark.parametrize(
    ("sql", "mutant"),
    [
        ("SELECT a FROM t WHERE b > 3", "SELECT a FROM t WHERE b <= 3"),
        ("SELECT a FROM t WHERE b > 3", "SELECT a FROM t WHERE b > 6"),
        ("SELECT a FROM t WHERE b > 3", "SELECT a FROM t"),
        ("SELECT MAX(a) FROM t", "SELECT MIN(a) FROM t"),
        ("SELECT COUNT(DISTINCT a) FROM t", "SELECT COUNT(a) FROM t"),
        ("SELECT a FROM t ORDER BY a LIMIT 1", "SELECT a FROM t ORDER BY a DESC LIMIT 1"),
        ("SELECT a FROM t EXCEPT SELECT a FROM s", "SELECT a FROM t INTERSECT SELECT a FROM s"),
    ],
)
def test_mutants_are_near(sql: str, mutant: str) -> None:
    assert mutant in mutants(sql, Chance(("0",)))


def test_a_query_with_nothing_to_change_still_has_two() -> None:
    assert len(mutants("SELECT a FROM t", Chance(("0",)))) == 2


def test_no_mutant_is_the_query() -> None:
    assert GOLD not in mutants(GOLD, Chance(("0",)))
