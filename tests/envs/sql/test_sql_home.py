"""What the database is called: by its own name, and not by that of its file, which is a hash."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from envs.environment import Site
from envs.sql.catalog import Database
from envs.sql.engine import Ask, Engine


@pytest.fixture(params=["0", "f"])
def engine(request: pytest.FixtureRequest, shared_shop: tuple[Site, Database], tmp_path: Path) -> Iterator[Engine]:
    """Names of files begin with a digit, which DuckDB puts in quotes, or with a letter."""
    path = tmp_path / f"{request.param}{'1' * 63}.duckdb"
    shutil.copy(shared_shop[1].path, path)
    made = Engine(path, shared_shop[1].manifest)
    yield made
    made.close()


def ask(engine: Engine, sql: str, dialect: str | None = None) -> Any:
    return orjson.loads(engine.run(Ask(sql, dialect=dialect)))


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT * FROM customers JOIN orders ON customers.id = customer_id",
        "SELECT coalesce(*COLUMNS(['name', 'country'])) FROM customers",
        "SELECT max(id) + name FROM customers",
        "SELECT current_database() AS here, current_database()",
    ],
)
def test_nothing_tells_the_name_of_the_file(engine: Engine, sql: str) -> None:
    told = orjson.dumps(ask(engine, sql) | {"sql": "", "note": ""}).decode()
    assert "1" * 63 not in told


@pytest.mark.parametrize("dialect", [None, "postgres"])
def test_the_tables_of_the_current_database_are_those_that_there_are(engine: Engine, dialect: str | None) -> None:
    sql = "SELECT table_name FROM information_schema.tables WHERE table_catalog = current_database() ORDER BY 1 LIMIT 2"
    assert ask(engine, sql, dialect)["rows"] == [["big_spenders"], ["customers"]]
    named = ask(engine, "SELECT current_database(), current_database() || '!' AS b FROM customers LIMIT 1", dialect)
    assert (named["columns"], named["rows"]) == (
        [["current_database()", "VARCHAR"], ["b", "VARCHAR"]],
        [["shop", "shop!"]],
    )
