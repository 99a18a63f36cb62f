"""DuckDB's own reading of a query, as a second opinion on sqlglot's.

Two parsers can be made to disagree (escapes, nested comments, dollar quotes). DuckDB is the one that runs the
query, so every table and function in *its* syntax tree is checked as well.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb
import orjson

from envs.sql.functions import clean_connection
from envs.sql.refusal import Refused, Unparsable

SOURCES = frozenset(
    """
    BASE_TABLE SUBQUERY JOIN TABLE_FUNCTION EXPRESSION_LIST EMPTY PIVOT CTE SELECT_NODE SET_OPERATION_NODE
    RECURSIVE_CTE_NODE CTE_NODE
    """.split()  # noqa: SIM905
)
"""Kinds of FROM items that read nothing but named tables, functions and inner queries."""


@dataclass(frozen=True)
class DuckTree:
    """Names in DuckDB's own tree, lower-cased. None for what it could not serialise (a PIVOT statement)."""

    tables: frozenset[tuple[str, str, str]]
    """(catalog, schema, name); empty where not given."""
    functions: frozenset[tuple[str, str]]
    """(schema, name) of functions in expressions."""
    table_functions: frozenset[tuple[str, str]]
    ctes: frozenset[str]


def duck_tree(sql: str) -> DuckTree | None:
    """Raises `Unparsable` with DuckDB's words, or `Refused` where it is not exactly one query."""
    parser = _parser()
    quoted = sql.replace("'", "''")
    try:
        tree = orjson.loads(parser.execute(f"EXECUTE serialized('{quoted}')").fetchone()[0])
    except orjson.JSONDecodeError as e:  # of one more level than it reads
        raise Refused("this nests too deep: a long chain of signs nests as brackets do") from e
    if not tree["error"]:
        if len(tree["statements"]) != 1:
            raise Refused(f"one statement at a time: this holds {len(tree['statements'])}")
        return _names(tree["statements"])
    try:
        kinds = [statement.type for statement in parser.extract_statements(sql)]
    except duckdb.Error as e:
        raise Unparsable(str(e)) from e
    if kinds != [duckdb.StatementType.MULTI]:
        names = ", ".join(kind.name for kind in kinds) or "none"
        raise Refused(f"only one query at a time is run here; this holds statements of the kinds: {names}")
    return None


@cache
def _parser() -> Any:
    """A connection with a prepared call of DuckDB's serialiser; preparing it anew takes longer than the call."""
    cursor = clean_connection().cursor()
    cursor.execute("PREPARE serialized AS SELECT json_serialize_sql(CAST($1 AS VARCHAR))")
    return cursor


def _names(tree: Any) -> DuckTree:
    tables: set[tuple[str, str, str]] = set()
    functions: set[tuple[str, str]] = set()
    table_functions: set[tuple[str, str]] = set()
    ctes: set[str] = set()
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        node, called_as_table = stack.pop()
        if isinstance(node, list):
            stack.extend((item, False) for item in node if isinstance(item, (dict, list)))
            continue
        kind = node.get("type")
        if kind == "BASE_TABLE":
            tables.add((_low(node.get("catalog_name")), _low(node.get("schema_name")), _low(node["table_name"])))
        elif "sample" in node and "class" not in node and kind not in SOURCES:
            raise Refused(f"a FROM item of the kind {kind} is not allowed here")
        if "function_name" in node:
            name = (_low(node.get("schema")), _low(node["function_name"]))
            (table_functions if called_as_table else functions).add(name)
        if "cte_map" in node:
            ctes.update(_low(entry["key"]) for entry in node["cte_map"].get("map", []))
        stack.extend(
            (value, kind == "TABLE_FUNCTION" and key == "function")
            for key, value in node.items()
            if isinstance(value, (dict, list))
        )
    return DuckTree(frozenset(tables), frozenset(functions), frozenset(table_functions), frozenset(ctes))


def _low(name: Any) -> str:
    return str(name or "").lower()
