"""Which tables and columns a query read."""

import pytest

from envs.sql.lineage import columns_read, tables_read
from envs.sql.manifest import Column, Manifest, Table, View
from envs.sql.mutate import mutations
from envs.sql.order import orders


def table(name: str, *columns: str) -> Table:
    return Table(name=name, columns=tuple(Column(name=c, type="INTEGER") for c in columns), rows=0, size=0)


MANIFEST = Manifest(
    database="x",
    version="",
    tables=(table("A", "id", "v"), table("b", "id", "w"), table("c", "id", "u")),
    views=(
        View(name="ab", columns=(), sql="SELECT A.id, w FROM A JOIN b USING (id)"),
        View(name="deep", columns=(), sql="WITH c AS (SELECT * FROM ab) SELECT id FROM c"),
    ),
)

READ = {
    "SELECT 1": (),
    "SELECT * FROM a": ("A",),
    "FROM A SELECT v": ("A",),
    "SELECT * FROM a, main.b": ("A", "b"),
    "SELECT (SELECT max(w) FROM b) FROM A WHERE EXISTS (FROM c)": ("A", "b", "c"),
    "WITH t AS (SELECT * FROM b) SELECT * FROM t": ("b",),
    "WITH t AS (SELECT * FROM b), unused AS (SELECT * FROM c) SELECT * FROM t": ("b",),
    "WITH b AS (SELECT * FROM A) SELECT * FROM b": ("A",),
    "WITH b AS (SELECT * FROM A) SELECT * FROM b, main.b AS real": ("A", "b"),
    "WITH s AS (SELECT * FROM c), t AS (SELECT * FROM s) SELECT * FROM t UNION SELECT * FROM A": ("A", "c"),
    "WITH RECURSIVE r AS (SELECT id FROM A UNION ALL SELECT r.id FROM r JOIN b USING (id)) SELECT * FROM r": ("A", "b"),
    "WITH B AS (SELECT * FROM A) SELECT * FROM b": ("A",),
    "WITH p AS (PIVOT c ON u USING sum(id)) SELECT * FROM P": ("c",),
    "SELECT * FROM ab": ("A", "b"),
    "SELECT * FROM deep": ("A", "b"),
    "PIVOT A ON v USING count(*)": ("A",),
    "FROM A PIVOT (count(*) FOR v IN (SELECT id FROM c))": ("A", "c"),
    "SELECT * FROM A ORDER BY (SELECT max(id) FROM b) LIMIT (SELECT count(*) FROM c)": ("A", "b", "c"),
    "SELECT * FROM nowhere": (),
    "SELECT * FROM (SELECT * FROM (SELECT id FROM c) x) y, LATERAL (SELECT * FROM b WHERE b.id = y.id)": ("b", "c"),
}


@pytest.mark.parametrize("sql", READ)
def test_tables_read(sql: str) -> None:
    assert tables_read(sql, MANIFEST) == READ[sql]


def test_tables_read_in_another_dialect() -> None:
    assert tables_read('SELECT `v` FROM `A` WHERE v = "b"', MANIFEST, "mysql") == ("A",)


COLUMNS = {
    "SELECT v FROM A": {"A": ("v",)},
    "SELECT v FROM a WHERE id > 1": {"A": ("id", "v")},
    "SELECT * FROM b": {"b": ("id", "w")},
    "SELECT x.v FROM A AS x JOIN b USING (id) WHERE b.w = 1": {"A": ("id", "v"), "b": ("id", "w")},
    "WITH t AS (SELECT id FROM c) SELECT * FROM t": {"c": ("id",)},
    "SELECT w FROM ab": {"A": ("id",), "b": ("id", "w")},
    "SELECT COLUMNS('i.*') FROM A": {"A": ("id", "v")},
    "SELECT * LIKE 'v%' FROM A": {"A": ("id", "v")},
    "SELECT y FROM A AS t(x, y)": {"A": ("id", "v")},
    "VALUES ((SELECT max(v) FROM A))": {"A": ("v",)},
    "SELECT w FROM main.ab": {"A": ("id",), "b": ("id", "w")},
    "SELECT x.ab.w FROM x.ab": {"A": ("id",), "b": ("id", "w")},
}


@pytest.mark.parametrize("sql", COLUMNS)
def test_columns_read(sql: str) -> None:
    assert columns_read(sql, MANIFEST) == COLUMNS[sql]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("SELECT a FROM t ORDER BY a LIMIT 5", True),
        ("SELECT a FROM t ORDER BY a LIMIT 1", False),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
        ("(SELECT a FROM t ORDER BY a)", True),
        ("SELECT 1 UNION SELECT 2 ORDER BY 1", True),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
        ("not sql at all (", False),
    ],
)
def test_orders_only_where_the_outermost_query_does(sql: str, expected: bool) -> None:
    assert orders(sql) is expected


def test_mutations_differ_from_the_query_and_from_one_another() -> None:
    sql = "SELECT name, max(x) FROM t WHERE a > 3 AND b = 'yes' GROUP BY name ORDER BY name LIMIT 2"
    found = list(mutations(sql))
    assert len(found) == len(set(found)) >= 9
    assert "SELECT name, MAX(x) FROM t WHERE a <= 3 AND b = 'yes' GROUP BY name ORDER BY name LIMIT 2" in found
    assert "SELECT name, MIN(x) FROM t WHERE a > 3 AND b = 'yes' GROUP BY name ORDER BY name LIMIT 2" in found
    assert sql.replace("max", "MAX") not in found
