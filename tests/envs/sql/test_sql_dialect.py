"""Other dialects' SQL runs as its own database would run it."""

import sqlite3
from typing import Any

import duckdb
import orjson
import pytest

from envs.environment import Site
from envs.sql.catalog import Database
from envs.sql.dialect import loosen_groups, translate
from envs.sql.engine import Ask, Engine
from envs.sql.manifest import Column, Manifest, Table
from envs.sql.numerals import numerals_as_there
from envs.sql.refusal import Unparsable

TEXT, WHOLE = Column(name="s", type="VARCHAR"), Column(name="n", type="INTEGER")


def run(shop: Database, sql: str, dialect: str | None = None, first: bool = False) -> Any:
    engine = Engine(shop.path, shop.manifest)
    try:
        reply = orjson.loads(engine.run(Ask(sql, dialect=dialect, dialect_first=first)))
    finally:
        engine.close()
    return reply["rows"] if reply["ok"] else reply["words"].splitlines()[0]


@pytest.fixture
def shop(shared_shop: tuple[Site, Database]) -> Database:
    return shared_shop[1]


@pytest.mark.parametrize(
    ("sql", "dialect", "expected"),
    [
        ('SELECT name FROM customers WHERE country = "US" ORDER BY id', "mysql", [["Bo"], ["Cy"]]),
        ("SELECT `name` FROM `customers` WHERE id = 1", "mysql", [["Ada"]]),
        ("SELECT `name` FROM `customers` WHERE id = 1", None, [["Ada"]]),
        ("SELECT name FROM customers WHERE name LIKE 'a%' ORDER BY 1", "mysql", [["Ada"]]),
        ("SELECT name FROM customers WHERE name NOT LIKE 'A%' ORDER BY 1", "mysql", [["Bo"], ["Cy"], ["Di"]]),
        ("SELECT name FROM customers WHERE name LIKE 'a%'", "sqlite", [["Ada"]]),
        ("SELECT name FROM customers WHERE name LIKE 'a%'", None, []),
        ("SELECT country FROM customers ORDER BY country LIMIT 1", "mysql", [[None]]),
        ('SELECT name FROM customers WHERE country = "US"', "sqlite", [["Bo"]]),
        ('SELECT "name" AS "n" FROM customers c WHERE c."id" = 2 AND country IN ("US", "x y")', "sqlite", [["Bo"]]),
        ('SELECT name || "-" || count(*) FROM customers', "sqlite", [["Ada-4"]]),
        ("SELECT id FROM orders WHERE d > date('2024-03-31', '-1 month', 'start of month', '+1 day')", "sqlite", [[4]]),
        ("SELECT count(*) FROM orders WHERE d > date('now', '-1 year') OR d <= date('now')", "sqlite", [[4]]),
        ("SELECT sum(strftime('%Y', d) - strftime('%Y', '2020-06-01')) FROM orders", "sqlite", [[16]]),
        ("SELECT 7 / 2", "sqlite", [[3]]),
        ("SELECT name + ' (' + country + ')' FROM customers WHERE id + 1 = 2", "tsql", [["Ada (UK)"]]),
        ("SELECT 'a' + 'b' + CAST(id AS NVARCHAR(MAX)) FROM customers WHERE id = 3", "tsql", [["ab3"]]),
        ("SELECT name, x.id FROM customers c CROSS APPLY (SELECT TOP 1 * FROM orders o WHERE o.customer_id = c.id"
         " ORDER BY amount DESC) x ORDER BY 1", "tsql", [["Ada", 2], ["Bo", 3], ["Cy", 4]]),
        ("SELECT name, x.id FROM customers c OUTER APPLY (SELECT TOP 1 * FROM orders o WHERE o.customer_id = c.id"
         " AND amount > 50) x WHERE c.id > 2 ORDER BY 1", "tsql", [["Cy", 4], ["Di", None]]),
        ("SELECT country, count(*) FROM customers WHERE id < 3 GROUP BY country WITH ROLLUP ORDER BY 1",
         "mysql", [[None, 2], ["UK", 1], ["US", 1]]),
        ("SELECT 7 / 2", "mysql", [[3.5]]),
        ("SELECT name FROM customers LIMIT 1, 1", "mysql", [["Bo"]]),
        ("SELECT IFNULL(country, 'none') FROM customers WHERE id = 4", "mysql", [["none"]]),
        ("SELECT name, count(*) FROM customers c JOIN orders o ON c.id = o.customer_id GROUP BY c.id ORDER BY 1",
         "mysql", [["Ada", 2], ["Bo", 1], ["Cy", 1]]),
        ("SELECT name, max(id) FROM customers", "mysql", [["Ada", 4]]),
        ("SELECT substr(name, 1, 1) AS initial, country, count(*) FROM customers WHERE id < 3 GROUP BY initial"
         " ORDER BY initial", "sqlite", [["A", "UK", 1], ["B", "US", 1]]),
        ("SELECT year(d) AS y, id, count(*) AS n FROM orders GROUP BY y HAVING n > 1", "mysql", [[2024, 1, 4]]),
        ("SELECT count(*) FROM customers WHERE country = 0", "mysql", [[3]]),
        ("SELECT count(*) FROM customers WHERE country < 1 OR country IS NULL", "mysql", [[4]]),
        ("SELECT name FROM customers WHERE id = '2nd'", "mysql", [["Bo"]]),
        ("SELECT name FROM customers WHERE id IN ('3', 'x') ORDER BY 1", "mysql", [["Cy"]]),
        ("SELECT count(*) FROM customers WHERE id BETWEEN '1' AND '2.5 more'", "mysql", [[2]]),
        ("SELECT sum(country), avg(name) FROM customers", "mysql", [[0.0, 0.0]]),
        ("SELECT name + 1 FROM customers WHERE id = 1", "mysql", [[1.0]]),
        ("SELECT c.name FROM customers c JOIN (SELECT count(*) - 5 AS n FROM orders) t ON c.country > t.n ORDER BY 1",
         "mysql", [["Ada"], ["Bo"], ["Cy"]]),
        ("SELECT name, count(*) FROM customers WHERE country < 5 ORDER BY 1", "mysql", [["Ada", 3]]),
    ],
)  # fmt: skip
def test_a_dialect_is_understood(shop: Database, sql: str, dialect: str | None, expected: Any) -> None:
    assert run(shop, sql, dialect) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name, max(id) FROM customers",
        "SELECT name, country, min(id), count(*) FROM customers WHERE id > 1",
        "SELECT max(id), upper(country) || 'x' FROM customers",
        "SELECT customer_id, id, max(amount) FROM orders GROUP BY customer_id ORDER BY 1",
        "SELECT id FROM orders GROUP BY customer_id HAVING max(amount) > 6 ORDER BY max(amount)",
        "SELECT name FROM (SELECT name, min(id) FROM customers)",
    ],
)
def test_beside_a_maximum_sqlite_takes_the_row_that_has_it(shop: Database, sql: str) -> None:
    lite = sqlite3.connect(":memory:")
    lite.executescript(
        """
        CREATE TABLE customers (id, name, country);
        CREATE TABLE orders (id, customer_id, amount);
        INSERT INTO customers VALUES (1, 'Ada', 'UK'), (2, 'Bo', 'US'), (3, 'Cy', 'us'), (4, 'Di', NULL);
        INSERT INTO orders VALUES (1, 1, 10.5), (2, 1, 20.0), (3, 2, 5.25), (4, 3, 99.99);
        """
    )
    expected = [list(row) for row in lite.execute(sql)]
    assert run(shop, sql, "sqlite") == run(shop, sql, "sqlite", first=True) == expected


@pytest.mark.parametrize(
    "number", ["7.9", "-7.9", "'7.9'", "7", "'7'", "NULL", "3000000000.5", "2.5 * 3", "CAST(1.9 AS INTEGER) + 1.9"]
)
def test_a_gold_query_of_sqlite_cuts_a_fraction_off_where_it_casts(shop: Database, number: str) -> None:
    sql = f"SELECT CAST({number} AS INTEGER), CAST({number} AS INT)"
    assert run(shop, sql, "sqlite", first=True) == [list(sqlite3.connect(":memory:").execute(sql).fetchone())]


def test_duckdb_is_tried_first_so_that_its_own_quotes_keep_their_meaning(shop: Database) -> None:
    sql = 'SELECT "name" FROM customers WHERE id = 1'
    assert run(shop, sql, "mysql") == [["Ada"]]
    assert run(shop, sql, "mysql", first=True) == [["name"]]


def test_without_a_dialect_ungrouped_columns_are_a_fault(shop: Database) -> None:
    words = run(shop, "SELECT name, max(id) FROM customers")
    assert 'column "name" must appear in the GROUP BY clause' in words


def test_the_fault_told_is_that_of_the_reading_that_parsed(shop: Database) -> None:
    assert 'Referenced column "nope" not found' in run(shop, "SELECT nope FROM customers", "mysql")
    assert "DROP is refused" in run(shop, "DROP TABLE `customers`", "mysql")
    assert 'Referenced column "nmae" not found' in run(shop, 'SELECT "nmae" FROM customers', "sqlite")


MOMENTS = (
    "date(x, '+1 month')", "date(x, '-1 year', 'start of month')", "date(x, 'start of year', '-1 day')", "datetime(x)",
    "time(x, '+90 minutes')", "julianday(x)", "CAST(julianday(x) - julianday('2024-01-01') AS INTEGER)", "unixepoch(x)",
    "strftime('%s', x)", "strftime('%Y-%m', x, '+1 month')", "strftime('%w %j %d/%m/%Y', x)",
    "strftime('%Y', x) - strftime('%Y', '2010-05-05')", "date(x) || ''", "total(1)",
    "julianday('now') - julianday(date('now', '-2 days')) BETWEEN 2 AND 3", "strftime('%Y', 'now') > '2000'",
)  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("x", ["2024-01-31 10:20:30", "2020-02-29", "1999-12-31 23:59:59", "no moment", None])
def test_sqlites_date_functions_give_what_sqlite_gives(moment: str, x: str | None) -> None:
    query = f"SELECT {moment} FROM (SELECT CAST(? AS VARCHAR) AS x)"
    there = sqlite3.connect(":memory:").execute(query, [x]).fetchone()[0]
    with duckdb.connect() as connection:
        connection.execute("SET integer_division = true")
        here = connection.execute(translate(query, "sqlite"), [x]).fetchone()
    assert here is not None
    assert (here[0] if here[0] is None or isinstance(there, str) else float(here[0])) == there


def test_ungrouped_columns_get_any_value_and_grouped_ones_do_not() -> None:
    loosened = loosen_groups("SELECT a, b + c, sum(d) FROM t GROUP BY a HAVING e > 1 ORDER BY f, sum(d)")
    assert loosened == (
        "SELECT a, ANY_VALUE(b) + ANY_VALUE(c), SUM(d) FROM t GROUP BY a HAVING ANY_VALUE(e) > 1"
        " ORDER BY ANY_VALUE(f), SUM(d)"
    )


def test_without_a_dialect_text_is_no_number(shop: Database) -> None:
    for dialect in (None, "sqlite", "postgres"):
        assert "Could not convert string 'UK'" in run(shop, "SELECT 1 FROM customers WHERE country = 0", dialect)


@pytest.mark.parametrize(
    ("text", "number"),
    [("12abc", 12.0), ("  3.5 kg", 3.5), ("-4e1x", -40.0), (".5", 0.5), ("x1", 0.0), ("", 0.0), ("+7", 7.0)],
)  # fmt: skip
def test_text_is_the_number_that_it_begins_with(text: str, number: float) -> None:
    """As a literal and as a column's value."""
    manifest = Manifest(database="d", version="", tables=(Table(name="t", rows=1, size=1, columns=(TEXT, WHOLE)),))
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT CAST(? AS VARCHAR) AS s, 1 AS n", [text])
        asked = f"SELECT n + '{text}', s + n FROM t WHERE s = {number}"
        assert connection.execute(numerals_as_there(asked, manifest)).fetchall() == [(1 + number, number + 1)]


def test_only_text_that_meets_a_number_is_read_as_one() -> None:
    manifest = Manifest(database="d", version="", tables=(Table(name="t", rows=1, size=1, columns=(TEXT, WHOLE)),))
    kept = "SELECT s, n + 1, MIN(s) FROM t WHERE s = 'a' AND n > 2 AND s IN ('a', 'b') AND s < (SELECT MAX(s) FROM t)"
    assert numerals_as_there(kept, manifest) == kept


def test_what_is_no_sql_in_the_dialect_is_unparsable() -> None:
    with pytest.raises(Unparsable, match="mysql"):
        translate("SELECT FROM WHERE", "mysql")
