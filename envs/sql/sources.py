"""Reading a source into a fresh DuckDB database: DuckDB files, SQLite files, folders of data files."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import sqlglot
from sqlglot import exp

from envs.errors import TaskError
from envs.sql.ddl import quoted
from envs.sql.manifest import ForeignKey, LeftOut

READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}
BATCH = 10_000
READ_ROWS = "rows read\n"
"""Name of the rows on their way from SQLite: one that no table has."""


@dataclass(frozen=True)
class Keys:
    """What a source declares of a table beyond its columns."""

    primary: tuple[str, ...] = ()
    foreign: tuple[ForeignKey, ...] = ()
    not_null: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    """What was copied, and what of the source was not."""

    tables: tuple[str, ...]
    keys: dict[str, Keys] = field(default_factory=dict)
    views: tuple[tuple[str, str], ...] = ()
    """Name and query, in the order they were made; not created yet."""
    left_out: tuple[LeftOut, ...] = ()


def copy_source(connection: Any, source: Path) -> Found:
    """Copy every table. Raises `TaskError` where the source is none of the known kinds."""
    if source.is_dir():
        return _copy_folder(connection, source)
    with source.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"SQLite format 3\0"):
        return _copy_sqlite(connection, source)
    if head[8:12] == b"DUCK":
        return _copy_duckdb(connection, source)
    if source.suffix.lower() in READERS:
        return _copy_files(connection, [source], ())
    raise TaskError(
        f"{source} is no DuckDB file, SQLite file or data file; a folder may hold {', '.join(sorted(READERS))}"
    )


def _copy_folder(connection: Any, source: Path) -> Found:
    files, left_out = [], []
    for path in sorted(source.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file() and path.suffix.lower() in READERS:
            files.append(path)
        else:
            left_out.append(LeftOut(name=path.name, why="not a data file"))
    return _copy_files(connection, files, tuple(left_out))


def _copy_files(connection: Any, files: Iterable[Path], left_out: tuple[LeftOut, ...]) -> Found:
    tables: dict[str, Path] = {}
    for path in files:
        folded = path.stem.casefold()
        if folded in {name.casefold() for name in tables}:
            raise TaskError(f"two files would become the table {path.stem!r}: one of them is {path}")
        reader = READERS[path.suffix.lower()]
        if skipped := _copy_file(connection, path, reader):
            why = f"its first {skipped:,} lines, which have other columns than the rest"
            left_out = (*left_out, LeftOut(name=path.name, why=why))
        tables[path.stem] = path
    return Found(tables=tuple(tables), left_out=left_out)


def _copy_file(connection: Any, path: Path, reader: str) -> int:
    """How many lines at the file's beginning were left out, since they have other columns than the rest."""
    copy = f"CREATE TABLE {quoted(path.stem)} AS SELECT * FROM {reader}"
    try:
        connection.execute(f"{copy}(?)", [str(path)])
    except (duckdb.ConversionException, duckdb.InvalidInputException) as e:
        if reader == "read_parquet":
            raise
        # The types were guessed from the file's beginning, and a later line fits them not: guess from all of it.
        try:
            connection.execute(f"{copy}(?, sample_size = -1)", [str(path)])
        except duckdb.Error:
            raise e from None
    if reader != "read_csv":
        return 0
    skipped = connection.execute("SELECT SkipRows FROM sniff_csv(?)", [str(path)]).fetchone()
    return int(skipped[0]) if skipped else 0


def _copy_duckdb(connection: Any, source: Path) -> Found:
    connection.execute(f"ATTACH {_text(str(source))} AS source (READ_ONLY)")
    try:
        tables = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'source' ORDER BY table_oid"
        ).fetchall()
        views = connection.execute(
            "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE database_name = 'source' AND NOT internal"
            " ORDER BY view_oid"
        ).fetchall()
        left_out = [
            LeftOut(name=f"{schema}.{name}", why="only the schema main is loaded")
            for schema, name, *_ in [*tables, *views]
            if schema != "main"
        ]
        names = [name for schema, name in tables if schema == "main"]
        for name in names:
            connection.execute(f"CREATE TABLE {quoted(name)} AS SELECT * FROM source.main.{quoted(name)}")
        keys = {name: _duckdb_keys(connection, name) for name in names}
    finally:
        connection.execute("DETACH source")
    queries = tuple((name, _view_query(sql)) for schema, name, sql in views if schema == "main")
    return Found(tables=tuple(names), keys=keys, views=queries, left_out=tuple(left_out))


def _duckdb_keys(connection: Any, table: str) -> Keys:
    found = connection.execute(
        "SELECT constraint_type, constraint_column_names, referenced_table, referenced_column_names"
        " FROM duckdb_constraints() WHERE database_name = 'source' AND schema_name = 'main' AND table_name = ?"
        " ORDER BY constraint_index",
        [table],
    ).fetchall()
    primary: tuple[str, ...] = ()
    foreign, not_null = [], set()
    for kind, columns, other, refers in found:
        if kind == "PRIMARY KEY":
            primary = tuple(columns)
        elif kind == "FOREIGN KEY":
            foreign.append(ForeignKey(columns=tuple(columns), table=other, refers=tuple(refers)))
        elif kind == "NOT NULL":
            not_null.update(columns)
    return Keys(primary=primary, foreign=tuple(foreign), not_null=frozenset(not_null))


def _view_query(sql: str, dialect: str = "duckdb") -> str:
    """The query of a CREATE VIEW statement, in DuckDB's dialect; the statement itself where it has none."""
    try:
        created = sqlglot.parse_one(sql, dialect=dialect)
    except sqlglot.errors.SqlglotError:
        return sql
    query = created.args.get("expression") if isinstance(created, exp.Create) else None
    if query is None:
        return sql
    for table in query.find_all(exp.Table):
        table.set("catalog", None)
    named = created.this
    if isinstance(named, exp.Schema) and isinstance(query, exp.Query):
        columns = [exp.to_identifier(column.name, quoted=True) for column in named.expressions]
        alias = exp.TableAlias(this=exp.to_identifier("named"), columns=columns)
        query = exp.select("*").from_(exp.Subquery(this=query, alias=alias))
    return str(query.sql(dialect="duckdb"))


def _copy_sqlite(connection: Any, source: Path) -> Found:
    lite = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
    lite.text_factory = _decoded
    try:
        listed = lite.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
        ).fetchall()
        names = [name for kind, name, _ in listed if kind == "table"]
        keys = {name: _sqlite_table(connection, lite, name) for name in names}
    except sqlite3.Error as e:
        raise TaskError(f"cannot load {source}: {e}") from e
    finally:
        lite.close()
    views = tuple((name, _view_query(sql, "sqlite")) for kind, name, sql in listed if kind == "view")
    return Found(tables=tuple(names), keys=keys, views=views)


def _sqlite_table(connection: Any, lite: sqlite3.Connection, table: str) -> Keys:
    # The x is for generated columns, which the plain question leaves out; hidden ones of virtual tables are kind 1.
    info = [row for row in lite.execute(f"PRAGMA table_xinfo({quoted(table)})") if row[6] != 1]
    names = [row[1] for row in info]
    types = [_sqlite_type(lite, table, row[1], row[2]) for row in info]
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in zip(names, types, strict=True))
    connection.execute(f"CREATE TABLE {quoted(table)} ({columns})")
    rows = lite.execute(f"SELECT {', '.join(map(quoted, names))} FROM {quoted(table)}")
    while batch := rows.fetchmany(BATCH):
        arrays = [_array(values, kind) for values, kind in zip(zip(*batch, strict=True), types, strict=True)]
        connection.register(READ_ROWS, pyarrow.Table.from_arrays(arrays, names=[str(i) for i in range(len(arrays))]))
        connection.execute(f"INSERT INTO main.{quoted(table)} SELECT * FROM {quoted(READ_ROWS)}")
        connection.unregister(READ_ROWS)
    primary = tuple(row[1] for row in sorted(info, key=lambda row: row[5]) if row[5])
    return Keys(primary, _sqlite_foreign(lite, table), frozenset(row[1] for row in info if row[3]))


_SQLITE_TYPES = {
    frozenset({"integer"}): "BIGINT",
    frozenset({"integer", "real"}): "DOUBLE",
    frozenset({"real"}): "DOUBLE",
    frozenset({"blob"}): "BLOB",
}


def _sqlite_type(lite: sqlite3.Connection, table: str, column: str, declared: str) -> str:
    """SQLite types values, not columns: the type that holds every value there is; for none, the declared one."""
    found = lite.execute(f"SELECT DISTINCT typeof({quoted(column)}) FROM {quoted(table)}").fetchall()
    kinds = frozenset(kind for (kind,) in found) - {"null"}
    if kinds:
        return _SQLITE_TYPES.get(kinds, "VARCHAR")
    upper = (declared or "").upper()
    if "INT" in upper:
        return "BIGINT"
    return "DOUBLE" if any(word in upper for word in ("REAL", "FLOA", "DOUB", "NUM", "DEC")) else "VARCHAR"


_ARROW = {"BIGINT": pyarrow.int64(), "DOUBLE": pyarrow.float64(), "BLOB": pyarrow.binary(), "VARCHAR": pyarrow.string()}


def _array(values: tuple[Any, ...], kind: str) -> Any:
    if kind == "VARCHAR":
        values = tuple(v if v is None or isinstance(v, str) else _as_text(v) for v in values)
    elif kind == "DOUBLE":
        values = tuple(None if v is None else float(v) for v in values)
    return pyarrow.array(values, _ARROW[kind])


def _as_text(value: Any) -> str:
    return _decoded(value) if isinstance(value, bytes) else str(value)


def _sqlite_foreign(lite: sqlite3.Connection, table: str) -> tuple[ForeignKey, ...]:
    keys: dict[int, list[tuple[str, str, str | None]]] = {}
    for number, _, other, column, refers, *_ in lite.execute(f"PRAGMA foreign_key_list({quoted(table)})"):
        keys.setdefault(number, []).append((other, column, refers))
    return tuple(
        ForeignKey(
            columns=tuple(column for _, column, _ in parts),
            table=parts[0][0],
            refers=tuple(refers or column for _, column, refers in parts),
        )
        for _, parts in sorted(keys.items(), reverse=True)
    )


def _decoded(data: bytes) -> str:
    """SQLite does not check what it stores as text; what is not UTF-8 is mostly Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
