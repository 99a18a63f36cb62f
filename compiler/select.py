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
    """Raises `RecipeError` unless it is one query over `trajectories` and its own CTEs, with plain functions."""
    try:
        statements = [s for s in sqlglot.parse(sql, dialect="duckdb") if s is not None]
    except sqlglot.errors.SqlglotError as e:
        raise RecipeError(f"select: cannot be read as SQL: {str(e).splitlines()[0]}") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise RecipeError("select: must be one SELECT of trajectory ids")
    tree = statements[0]
    local = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        plain = isinstance(table.this, exp.Identifier) and not table.db and not table.catalog
        if not plain or table.name.lower() not in local | {"trajectories"}:
            raise RecipeError(f"select: only the view trajectories can be read, not {table.sql(dialect='duckdb')}")
    if tree.find(exp.Into, exp.Command):
        raise RecipeError("select: must only read")


def run_select(sql: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids that the query gives, in its order, each once. `rows` have the view's columns (absent ones are null).

    Raises `RecipeError` in the database's own words.
    """
    check_select(sql)
    with duckdb.connect(":memory:") as db:
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
        db.register("incoming", pa.RecordBatchReader.from_batches(VIEW, _batches(rows)))
        db.execute("CREATE TABLE trajectories AS SELECT * FROM incoming")
        db.unregister("incoming")
        try:
            found = db.execute(sql).fetchall()
        except duckdb.Error as e:
            raise RecipeError(f"select: {e}") from e
    if found and len(found[0]) != 1:
        raise RecipeError(f"select: must give one column, the trajectory's id; it gives {len(found[0])}")
    return list(dict.fromkeys(str(row[0]) for row in found))


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield pa.RecordBatch.from_pylist([dict(r) for r in batch], schema=VIEW)
