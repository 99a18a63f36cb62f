"""The SQL policy: list the tables, describe those that are needed, try the query, answer with it.

A wrong sample looks the same, but answers with a mutated query whose result it has seen to differ.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp

from api.oracle.moves import Call, Moment, Move, Step, call, say
from api.oracle.sql_mutants import mutants
from envs.sql.world import SqlReference


def sql_policy(moment: Moment) -> Move:
    gold = gold_in_duckdb(SqlReference.model_validate(moment.reference.data).gold_sql, moment.task.dialect)
    if moment.of("answer"):
        return say("I could not find a query whose result answers the question.", "The answer was refused.")
    if not (listed := moment.of("list_tables")):
        return call("list_tables", "First I need to know which tables there are.")
    tables = [_spelled(name, moment.task.world, listed[0]) for name in tables_of(gold)]
    described = {str(step.arguments.get("table")) for step in moment.of("describe_table")}
    if missing := [name for name in tables if name not in described]:
        calls = tuple(Call("describe_table", {"table": name}) for name in missing)
        return Move(calls=calls, thought=f"The question seems to need {', '.join(missing)}.")
    if detour := _detour(moment, tables):
        return detour
    results = {str(step.arguments.get("sql")): step.text for step in moment.of("run_sql")}
    if gold not in results:
        return call("run_sql", "I have what I need for a query.", sql=gold)
    if not moment.wrong:
        return call("answer", "The result looks right.", sql=gold)
    return _miss(gold, results, moment)


def _miss(gold: str, results: Mapping[str, str], moment: Moment) -> Move:
    for mutant in mutants(gold, moment.chance):
        if mutant not in results:
            return call("run_sql", "Another reading of the question is possible; I try it.", sql=mutant)
        if not is_error(results[mutant]) and rows_shown(results[mutant]) != rows_shown(results[gold]):
            return call("answer", "I prefer this reading.", sql=mutant)
    return say("I do not know.")


def _detour(moment: Moment, needed: list[str]) -> Move | None:
    """One look at a table that has nothing to do with the question."""
    wanted = {name.lower() for name in needed}
    others = sorted(name for name in moment.task.world.get("tables", {}) if name.lower() not in wanted)
    if not others or moment.of("sample_rows") or not moment.detour("table"):
        return None
    return call("sample_rows", "This table may matter too.", table=moment.chance.pick(others, "table"), n=3)


def is_error(text: str) -> bool:
    return text.startswith("Error: ")


def rows_shown(text: str) -> list[str]:
    """A result's rows in no order, without the names of its columns and the note on what was run."""
    _, _, rows = text.partition("\n")
    return sorted(line for line in rows.split("\n") if not line.startswith("Note: "))


def _spelled(name: str, world: Mapping[str, Any], listed: Step) -> str:
    """The table's name as the database spells it: SQL ignores case, tools need not."""
    for known in world.get("tables", {}):
        if known.lower() == name.lower():
            return str(known)
    at = listed.text.lower().find(name.lower())
    return listed.text[at : at + len(name)] if at >= 0 else name


@lru_cache(maxsize=4096)
def gold_in_duckdb(sql: str, dialect: str | None) -> str:
    if dialect in (None, "", "duckdb"):
        return sql.strip().rstrip(";")
    return sqlglot.transpile(sql, read=dialect, write="duckdb")[0]


@lru_cache(maxsize=4096)
def tables_of(sql: str) -> tuple[str, ...]:
    """Tables that the query names, in order, without its own CTEs."""
    tree = sqlglot.parse_one(sql, read="duckdb")
    own = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    return tuple(dict.fromkeys(t.name for t in tree.find_all(exp.Table) if t.name.lower() not in own))
