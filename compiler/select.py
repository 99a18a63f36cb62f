"""`select` of a recipe: one read-only SELECT of ids over the view `trajectories`.

The view has one row for each trajectory:

    id           text     the trajectory
    run          text     the run that queued it
    task         text     the task's id
    environment  text     search, swe or sql
    task_group   text     repository, database or document family
    split        text     of the task
    model        text     that acted
    stop         text     stop reason; null for a partial trajectory
    verdict      text     of the latest score: right, wrong, partial, no_answer; null without one
    score        double   of the latest score, 0 to 1; null without one
    turns        bigint   model calls
    tokens       bigint   generated
    seconds      double   in model calls and tools
    imported     boolean  made elsewhere

Example: select id from trajectories where environment = 'swe' and turns between 5 and 40
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from compiler.errors import RecipeError

VIEW = pa.schema(
    [
        ("id", pa.string()),
        ("run", pa.string()),
        ("task", pa.string()),
        ("environment", pa.string()),
        ("task_group", pa.string()),
        ("split", pa.string()),
        ("model", pa.string()),
        ("stop", pa.string()),
        ("verdict", pa.string()),
        ("score", pa.float64()),
        ("turns", pa.int64()),
        ("tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("imported", pa.bool_()),
    ]
)
BATCH = 10_000


def check_select(sql: str) -> None:
    """Raises `ValueError` unless it is one query over `trajectories` and its own CTEs whose columns exist and which
    gives one column. Nothing is run."""
    _check_shape(sql)
    with _database(()) as db:
        try:
            given = len(db.execute(f"DESCRIBE {sql}").fetchall())
        except duckdb.Error as e:
            raise ValueError(_words(e)) from None
    if given != 1:
        raise ValueError(f"must give one column, the trajectory's id; it gives {given}")


def _check_shape(sql: str) -> None:
    try:
        statements = [s for s in sqlglot.parse(sql, dialect="duckdb") if s is not None]
    except sqlglot.errors.SqlglotError as e:
        raise ValueError(f"cannot be read as SQL: {str(e).splitlines()[0]}") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise ValueError("must be one SELECT of trajectory ids")
    tree = statements[0]
    local = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        plain = isinstance(table.this, exp.Identifier) and not table.db and not table.catalog
        if not plain or table.name.lower() not in local | {"trajectories"}:
            raise ValueError(f"only the view trajectories can be read, not {table.sql(dialect='duckdb')}")
    if tree.find(exp.Into, exp.Command):
        raise ValueError("must only read")


def run_select(sql: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids that the query gives, in its order, each once. `rows` have the view's columns (absent ones are null).

    Raises `RecipeError` in the database's own words.
    """
    try:
        check_select(sql)
        with _database(rows) as db:
            found = list(dict.fromkeys(row[0] for row in db.execute(sql).fetchall()))
            known = {row[0] for row in db.execute("SELECT id FROM trajectories").fetchall()}
    except ValueError as e:
        raise RecipeError(f"select: {e}") from None
    except duckdb.Error as e:
        raise RecipeError(f"select: {_words(e)}") from None
    if made_up := [id for id in found if id not in known]:
        raise RecipeError(f"select: must give ids of the view; {made_up[0]!r} is none")
    return found


@contextmanager
def _database(rows: Iterable[Mapping[str, Any]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Holds the view, and can reach nothing else."""
    with duckdb.connect(":memory:") as db:
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
        db.register("incoming", pa.RecordBatchReader.from_batches(VIEW, _batches(rows)))
        db.execute("CREATE TABLE trajectories AS SELECT * FROM incoming")
        db.unregister("incoming")
        yield db


def _words(error: duckdb.Error) -> str:
    """Without the picture of the place in the statement."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split())


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield pa.RecordBatch.from_pylist([dict(r) for r in batch], schema=VIEW)
