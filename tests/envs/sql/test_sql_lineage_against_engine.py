"""Lineage beside the engine's own judgement: a table or column is read exactly if the query changes without it."""

from functools import cache

import duckdb
import pytest

from envs.sql.lineage import columns_read, tables_read
from envs.sql.manifest import Column, Manifest, Table, View

TABLES = {
    "Alpha": ("id", "v", "k"),
    "b": ("id", "w", "k"),
    "c": ("id", "u"),
    "odd name": ("id", "The Column"),
    "d": ("id", "t"),
}
VIEWS = {
    "ab": "SELECT Alpha.id, w FROM Alpha JOIN b USING (id)",
    "over": "WITH c AS (SELECT * FROM ab) SELECT id FROM c",
    "constant": "VALUES (1)",
    "turned": "PIVOT b ON k IN (1, 2) USING max(w)",
    "quoted View": 'SELECT "The Column" AS x, id FROM "odd name"',
}
MANIFEST = Manifest(
    database="x",
    version="",
    tables=tuple(
        Table(name=name, columns=tuple(Column(name=c, type="INTEGER") for c in columns), rows=0, size=0)
        for name, columns in TABLES.items()
    ),
    views=tuple(View(name=name, columns=(), sql=sql) for name, sql in VIEWS.items()),
)
QUERIES = [
    "SELECT v FROM ALPHA",
    'SELECT "V" FROM "aLPHA"',
    'SELECT "the column" FROM "ODD NAME"',
    'SELECT o."The Column" FROM "odd name" AS o WHERE o.id = 1',
    'SELECT x FROM "QUOTED view"',
    "SELECT v FROM main.Alpha",
    "SELECT w FROM ab",
    "SELECT id FROM over",
    "SELECT ab.w, a.v FROM ab JOIN Alpha a ON a.id = ab.id",
    "WITH ab AS (SELECT id FROM c) SELECT * FROM ab",
    "WITH Alpha AS (SELECT id FROM b) SELECT * FROM Alpha JOIN c USING (id)",
    "WITH x AS (SELECT id, v FROM Alpha), y AS (SELECT id FROM x) SELECT id FROM y",
    "WITH x(n) AS (SELECT u FROM c) SELECT n FROM x",
    "WITH x AS MATERIALIZED (SELECT w FROM b) SELECT x.w, y.w FROM x, x AS y",
    "WITH RECURSIVE r(n) AS (SELECT id FROM Alpha UNION ALL SELECT n + 1 FROM r JOIN c ON u = n WHERE n < 3) FROM r",
    "WITH RECURSIVE r AS (SELECT id FROM d UNION SELECT b.id FROM b JOIN r ON r.id = b.w) SELECT count(*) FROM r",
    "SELECT (SELECT max(u) FROM c WHERE c.id = Alpha.id) FROM Alpha",
    "SELECT id FROM Alpha WHERE EXISTS (SELECT 1 FROM b WHERE b.w = Alpha.v)",
    "SELECT id FROM Alpha WHERE id IN (SELECT u FROM c) AND v = ANY (SELECT w FROM b)",
    "SELECT x.n FROM (SELECT count(*) AS n, u FROM c GROUP BY u) x",
    "SELECT l.w FROM Alpha, LATERAL (SELECT w FROM b WHERE b.id = Alpha.id) l",
    "SELECT l.n FROM Alpha a, LATERAL (SELECT a.v + 1 AS n) l",
    "SELECT * FROM c",
    "SELECT c.*, b.w FROM c JOIN b USING (id)",
    "SELECT * REPLACE (v + 1 AS v) FROM Alpha",
    "SELECT * FROM Alpha JOIN b USING (id, k)",
    "SELECT id, k FROM Alpha JOIN b USING (id, k)",
    "SELECT u FROM Alpha NATURAL JOIN c",
    "SELECT v, rank() OVER (PARTITION BY k ORDER BY id) FROM Alpha",
    "SELECT sum(v) OVER w1 FROM Alpha WINDOW w1 AS (ORDER BY k)",
    "SELECT v FROM Alpha QUALIFY row_number() OVER (ORDER BY k) = 1",
    "SELECT k, count(*) FILTER (WHERE v > 1) FROM Alpha GROUP BY k HAVING min(id) > 0",
    "SELECT v FROM Alpha ORDER BY k, (SELECT max(t) FROM d)",
    "SELECT v FROM Alpha LIMIT (SELECT count(*) FROM d)",
    "SELECT v FROM Alpha UNION ALL SELECT w FROM b EXCEPT SELECT u FROM c",
    "SELECT v AS x FROM Alpha UNION BY NAME SELECT w AS x FROM b",
    "SELECT CASE WHEN v > 1 THEN (SELECT min(t) FROM d) ELSE k END FROM Alpha",
    "SELECT list_transform([1], lambda i: i + v) FROM Alpha",
    "SELECT [i * 2 FOR i IN [v]] FROM Alpha",
    "SELECT a.id FROM Alpha a SEMI JOIN b ON a.id = b.w",
    "SELECT a.v FROM Alpha a ASOF JOIN b ON a.k = b.k AND a.id >= b.id",
    "FROM Alpha SELECT v WHERE id > 0",
    "SELECT DISTINCT ON (k) v FROM Alpha ORDER BY k, id",
    "SELECT v + k AS s FROM Alpha GROUP BY ALL",
    "SELECT v AS k2 FROM Alpha WHERE k2 > 1",
    "SELECT struct_pack(x := v, y := (SELECT max(w) FROM b)) FROM Alpha",
    "SELECT m FROM (VALUES (1), ((SELECT max(u) FROM c))) t(m)",
    "SELECT n FROM range((SELECT max(t) FROM d)) r(n)",
    "SELECT Alpha.v, Beta.w FROM Alpha, b AS Beta WHERE Alpha.id = Beta.id",
    "SELECT Alpha FROM Alpha",
    "SELECT count(*) FROM Alpha",
    "SELECT 1 FROM Alpha CROSS JOIN c",
    "SELECT 1",
]
COARSE = [
    "PIVOT Alpha ON v USING count(*)",
    "FROM Alpha PIVOT (sum(id) FOR v IN (1, 2) GROUP BY k)",
    "UNPIVOT Alpha ON v, k INTO NAME n VALUE x",
    "SELECT COLUMNS('i.*') FROM Alpha",
    "SELECT * FROM turned",
    "SELECT * FROM constant, c",
    "SELECT max(COLUMNS(*)) FROM c",
    "SELECT * FROM (PIVOT b ON k USING max(w)) p JOIN c USING (id)",
]
"""Every column of the tables read counts, since what is read hangs on the data or on a pattern."""


@cache
def engine() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for name, columns in TABLES.items():
        typed = ", ".join(f'"{column}" INTEGER' for column in columns)
        connection.execute(f'CREATE TABLE "{name}" ({typed})')
        connection.execute(f'INSERT INTO "{name}" VALUES ({", ".join("1" for _ in columns)})')
    for name, sql in VIEWS.items():
        connection.execute(f'CREATE VIEW "{name}" AS {sql}')
    return connection


def result(query: str, without: str = "") -> object:
    """The query's columns and rows, or None where it does not run; `without` is done before and undone after."""
    connection = engine()
    connection.execute("BEGIN")
    try:
        if without:
            connection.execute(without)
        cursor = connection.execute(query)
        return [c[:2] for c in cursor.description], sorted(map(repr, cursor.fetchall()))
    except duckdb.Error:
        return None
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("query", [*QUERIES, *COARSE])
def test_a_table_is_read_exactly_if_the_query_fails_without_it(query: str) -> None:
    assert result(query) is not None
    needed = tuple(sorted(name for name in TABLES if result(query, f'DROP TABLE "{name}"') is None))
    assert tables_read(query, MANIFEST) == needed


@pytest.mark.parametrize("query", QUERIES)
def test_a_column_is_read_exactly_if_the_query_changes_without_it(query: str) -> None:
    whole = result(query)
    needed = {
        name: tuple(
            sorted(c for c in TABLES[name] if result(query, f'ALTER TABLE "{name}" DROP COLUMN "{c}"') != whole)
        )
        for name in tables_read(query, MANIFEST)
    }
    assert columns_read(query, MANIFEST) == needed


@pytest.mark.parametrize("query", COARSE)
def test_where_columns_cannot_be_told_apart_all_count(query: str) -> None:
    found = columns_read(query, MANIFEST)
    assert found == {name: tuple(sorted(TABLES[name])) for name in tables_read(query, MANIFEST)}


def test_a_column_that_is_left_out_is_not_read() -> None:
    assert columns_read("SELECT * EXCLUDE (v) FROM Alpha", MANIFEST) == {"Alpha": ("id", "k")}


def test_the_comparison_can_tell() -> None:
    assert result("SELECT v FROM Alpha", 'ALTER TABLE "Alpha" DROP COLUMN "v"') is None
    assert result("SELECT v FROM Alpha", 'ALTER TABLE "Alpha" DROP COLUMN "k"') == result("SELECT v FROM Alpha")
