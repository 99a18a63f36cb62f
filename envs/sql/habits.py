"""What agents type out of habit and no read-only query covers: SHOW, DESCRIBE, PRAGMA, `.tables`, USE, EXPLAIN.

Answered from the manifest, without the engine, in the columns that MySQL, SQLite or PostgreSQL would give.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from envs.sql.ddl import create_statement
from envs.sql.guard import unknown_table
from envs.sql.manifest import Column, Manifest, Table, View
from envs.sql.refusal import Refused


@dataclass(frozen=True)
class Listing:
    """An answer out of the manifest."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    tables: tuple[str, ...] = ()
    """The tables that it tells of."""


@dataclass(frozen=True)
class Plan:
    """EXPLAIN, DESCRIBE or SUMMARIZE of a query."""

    verb: str
    sql: str


@dataclass(frozen=True)
class Summary:
    """SUMMARIZE of this relation."""

    relation: Table | View


Habit = Listing | Plan | Summary
Answer = Callable[[Manifest, re.Match[str]], Habit]

_NAME = r"""(?P<name>(?:[\w$.]+|"[^"]+"|`[^`]+`|'[^']+'|\[[^\]]+\])(?:\.(?:[\w$]+|"[^"]+"|`[^`]+`))*)"""
_IN = r"(?:\s+(?:FROM|IN)\s+(?:(?:SCHEMA|DATABASE)\s+)?\S+)?"
_EXEC = r"(?:EXEC(?:UTE)?\s+)?"


def answer_habit(sql: str, manifest: Manifest) -> Habit | None:
    """None where the statement is no such habit. Raises `UnknownTable`, or `Refused` for another database."""
    text = _bare(sql)
    if len(text) > 2_000 and not text[:8].upper().startswith("EXPLAIN"):
        return None
    for pattern, answer in _HABITS:
        match = pattern.fullmatch(text)
        if match:
            return answer(manifest, match)
    return None


def _bare(sql: str) -> str:
    """Without comments before it and semicolons after it."""
    text = re.sub(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)+", "", sql, flags=re.DOTALL)
    return text.rstrip("; \t\r\n")


def _tables(manifest: Manifest, match: re.Match[str]) -> Listing:
    wanted = _like(match.groupdict().get("like"))
    names = tuple(r.name for r in manifest.relations if wanted.fullmatch(r.name))
    return Listing((f"Tables_in_{manifest.database}",), tuple((n,) for n in names), _base(manifest, names))


def _views(manifest: Manifest, _: re.Match[str]) -> Listing:
    return Listing((f"Views_in_{manifest.database}",), tuple((view.name,) for view in manifest.views))


def _like(pattern: str | None) -> re.Pattern[str]:
    if pattern is None:
        return re.compile(r".*", re.DOTALL)
    shape = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.compile(shape, re.IGNORECASE | re.DOTALL)


def _databases(manifest: Manifest, _: re.Match[str]) -> Listing:
    return Listing(("Database",), ((manifest.database,),))


def _this_database(manifest: Manifest, match: re.Match[str]) -> Listing:
    name = _unquoted(match["name"])
    if name.casefold() not in (manifest.database.casefold(), "main"):
        raise Refused(f"there is one database here, {manifest.database}, and it is in use already")
    return Listing(("Database",), ((manifest.database,),))


def _describe(manifest: Manifest, match: re.Match[str]) -> Listing:
    relation = named_relation(manifest, match["name"])
    wanted = _like(match.groupdict().get("like"))
    rows = tuple(
        (c.name, c.type, "YES" if c.nullable else "NO", _key(relation, c), None, "")
        for c in relation.columns
        if wanted.fullmatch(c.name)
    )
    return Listing(("Field", "Type", "Null", "Key", "Default", "Extra"), rows, _base(manifest, (relation.name,)))


def _create(manifest: Manifest, match: re.Match[str]) -> Listing:
    relation = named_relation(manifest, match["name"])
    rows = ((relation.name, create_statement(relation)),)
    return Listing(("Table", "Create Table"), rows, _base(manifest, (relation.name,)))


def _indexes(manifest: Manifest, match: re.Match[str]) -> Listing:
    relation = named_relation(manifest, match["name"] or match["of"])
    keys = relation.primary_key if isinstance(relation, Table) else ()
    rows = tuple((relation.name, 0, "PRIMARY", position, column) for position, column in enumerate(keys, 1))
    columns = ("Table", "Non_unique", "Key_name", "Seq_in_index", "Column_name")
    return Listing(columns, rows, _base(manifest, (relation.name,)))


def _table_info(manifest: Manifest, match: re.Match[str]) -> Listing:
    relation = named_relation(manifest, match["name"])
    keys = relation.primary_key if isinstance(relation, Table) else ()
    rows = tuple(
        (i, c.name, c.type, int(not c.nullable), None, keys.index(c.name) + 1 if c.name in keys else 0)
        for i, c in enumerate(relation.columns)
    )
    return Listing(("cid", "name", "type", "notnull", "dflt_value", "pk"), rows, _base(manifest, (relation.name,)))


def _foreign_keys(manifest: Manifest, match: re.Match[str]) -> Listing:
    relation = named_relation(manifest, match["name"])
    found = relation.foreign_keys if isinstance(relation, Table) else ()
    rows = tuple(
        (number, position, key.table, column, other)
        for number, key in enumerate(found)
        for position, (column, other) in enumerate(zip(key.columns, key.refers, strict=False))
    )
    return Listing(("id", "seq", "table", "from", "to"), rows, _base(manifest, (relation.name,)))


def _schema(manifest: Manifest, _: re.Match[str]) -> Listing:
    rows = tuple((create_statement(relation),) for relation in manifest.relations)
    return Listing(("sql",), rows, tuple(table.name for table in manifest.tables))


def _explain(_: Manifest, match: re.Match[str]) -> Plan:
    return Plan("EXPLAIN", match["query"])


def _describe_query(_: Manifest, match: re.Match[str]) -> Plan:
    return Plan("DESCRIBE", match["query"])


def _summarize_query(_: Manifest, match: re.Match[str]) -> Plan:
    return Plan("SUMMARIZE", match["query"])


def _summarize(manifest: Manifest, match: re.Match[str]) -> Summary:
    return Summary(named_relation(manifest, match["name"]))


def named_relation(manifest: Manifest, written: str) -> Table | View:
    """As somebody writes a table's name, in any dialect's quotes, perhaps with the database before it. Raises
    `UnknownTable`."""
    name = _unquoted(written)
    relation = manifest.find(written) or manifest.find(name)
    if relation is None and "." in name:
        home, _, rest = name.rpartition(".")
        if home.casefold() in (manifest.database.casefold(), "main", "public", "dbo"):
            relation = manifest.find(rest)
    if relation is None:
        raise unknown_table(name, manifest)
    return relation


def _unquoted(written: str) -> str:
    return re.sub(r"""["`'\[\]]""", "", written)


def _key(relation: Table | View, column: Column) -> str:
    if not isinstance(relation, Table):
        return ""
    if column.name in relation.primary_key:
        return "PRI"
    return "MUL" if any(column.name in key.columns for key in relation.foreign_keys) else ""


def _base(manifest: Manifest, names: tuple[str, ...]) -> tuple[str, ...]:
    tables = {table.name for table in manifest.tables}
    return tuple(name for name in names if name in tables)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.replace(" ", r"\s+"), re.IGNORECASE | re.DOTALL)


_DESCRIBE = r"(?:DESC|DESCRIBE|EXPLAIN)(?: (?:TABLE|VIEW|EXTENDED|FORMATTED)){0,2}"
_NOT_A_QUERY = r"(?!(?:SELECT|WITH|FROM|VALUES|ANALYZE)\b)"
_QUERY = r"(?P<query>(?:SELECT|WITH|FROM|VALUES|\().*)"
_LIKE = r"(?:\s+LIKE\s+'(?P<like>[^']*)')?"
_HABITS: tuple[tuple[re.Pattern[str], Answer], ...] = tuple(
    (_pattern(text), answer)
    for text, answer in (
        (rf"SHOW (?:(?:ALL|FULL|EXTENDED|TERSE) )?TABLES{_IN}{_LIKE}", _tables),
        (rf"SHOW (?:(?:ALL|FULL|EXTENDED) )?TABLES{_IN} WHERE .*", _tables),
        (rf"SHOW TABLE STATUS{_IN}{_LIKE}", _tables),
        (
            r"LIST TABLES|DESCRIBE|\\dt?\+?|\.tables?|PRAGMA (?:main\.)?(?:show_tables|table_list)(?:\(\))?",
            _tables,
        ),
        (rf"{_EXEC}sp_tables", _tables),
        (rf"SHOW VIEWS{_IN}|\\dv\+?", _views),
        (r"SHOW (?:DATABASES|SCHEMAS)|\\l|\.databases|PRAGMA database_list", _databases),
        (r"SELECT (?:DATABASE|SCHEMA|current_database)\s*\(\s*\)", _databases),
        (rf"(?:USE|\\c) {_NAME}", _this_database),
        (
            rf"SHOW (?:(?:FULL|EXTENDED) )?(?:COLUMNS|FIELDS) (?:FROM|IN) (?:(?:TABLE|VIEW) )?{_NAME}{_IN}{_LIKE}",
            _describe,
        ),
        (rf"{_EXEC}sp_(?:help|columns) N?{_NAME}", _describe),
        (rf"{_DESCRIBE} {_NOT_A_QUERY}{_NAME}", _describe),
        (rf"\\d\+? {_NAME}", _describe),
        (rf"SHOW {_NAME}", _describe),
        (rf"(?:SHOW CREATE (?:TABLE|VIEW)|\.schema) {_NAME}", _create),
        (r"\.schema", _schema),
        (rf"SHOW (?:INDEX|INDEXES|INDICES|KEYS) (?:FROM|IN) {_NAME}{_IN}", _indexes),
        (rf"PRAGMA (?:main\.)?(?:table_info|table_xinfo)\s*(?:\(\s*{_NAME}\s*\)|=\s*\w+)", _table_info),
        (rf"SELECT \* FROM pragma_table_info\s*\(\s*{_NAME}\s*\)", _table_info),
        (rf"PRAGMA (?:main\.)?foreign_key_list\s*\(\s*{_NAME}\s*\)", _foreign_keys),
        (rf"SHOW PRIMARY KEYS (?:FROM|IN) (?:TABLE )?{_NAME}|\.(?:indexes|indices) (?P<of>\S+)", _indexes),
        (rf"PRAGMA (?:main\.)?index_list\s*\(\s*{_NAME}\s*\)", _indexes),
        (rf"EXPLAIN(?: QUERY PLAN| ANALYZE| FORMAT\s*=\s*\w+| \([^()]*\))? {_QUERY}", _explain),
        (rf"(?:DESCRIBE|DESC|SHOW) {_QUERY}", _describe_query),
        (rf"SUMMARIZE(?: TABLE)? {_NOT_A_QUERY}{_NAME}", _summarize),
        (rf"SUMMARIZE {_QUERY}", _summarize_query),
    )
)
