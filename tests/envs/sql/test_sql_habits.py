"""What agents type out of habit gets an answer that they can use, from the manifest alone."""

from typing import Any

import pytest

from envs.environment import Site
from envs.sql.catalog import Database
from envs.sql.habits import Listing, Plan, Summary, answer_habit
from envs.sql.refusal import Refused, UnknownTable

DESCRIBED = (
    ("id", "INTEGER", "NO", "PRI", None, ""),
    ("customer_id", "INTEGER", "YES", "MUL", None, ""),
    ("amount", "DECIMAL(8,2)", "YES", "", None, ""),
    ("d", "DATE", "YES", "", None, ""),
)
NAMES = tuple((name,) for name in ("customers", "order notes", "orders", "spending", "big_spenders"))
INFO = tuple(
    (i, name, kind, notnull, None, pk)
    for i, (name, kind, notnull, pk) in enumerate(
        [
            ("id", "INTEGER", 1, 1),
            ("customer_id", "INTEGER", 0, 0),
            ("amount", "DECIMAL(8,2)", 0, 0),
            ("d", "DATE", 0, 0),
        ]
    )
)

ANSWERS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "SHOW TABLES": NAMES,
    "show tables;": NAMES,
    "SHOW FULL TABLES FROM shop": NAMES,
    "-- what is there?\nSHOW TABLES IN shop ;": NAMES,
    "SHOW TABLES LIKE 'order%'": (("order notes",), ("orders",)),
    ".tables": NAMES,
    "DESCRIBE": NAMES,
    "\\dt": NAMES,
    "PRAGMA show_tables": NAMES,
    "SHOW DATABASES": (("shop",),),
    "SELECT DATABASE()": (("shop",),),
    "USE shop": (("shop",),),
    "DESCRIBE orders": DESCRIBED,
    "DESC Orders;": DESCRIBED,
    "desc `orders`": DESCRIBED,
    'DESCRIBE TABLE "orders"': DESCRIBED,
    "EXPLAIN orders": DESCRIBED,
    "DESCRIBE shop.orders": DESCRIBED,
    "SHOW COLUMNS FROM orders": DESCRIBED,
    "SHOW FULL COLUMNS FROM orders FROM shop": DESCRIBED,
    "SHOW FIELDS IN orders LIKE 'am%'": (DESCRIBED[2],),
    "\\d orders": DESCRIBED,
    "PRAGMA table_info(orders)": INFO,
    "PRAGMA table_info('orders');": INFO,
    "SELECT * FROM pragma_table_info('orders')": INFO,
    "PRAGMA foreign_key_list(orders)": ((0, 0, "customers", "customer_id", "id"),),
    "SHOW INDEX FROM orders": (("orders", 0, "PRIMARY", 1, "id"),),
    "SHOW CREATE TABLE customers": (
        ("customers",
         "CREATE TABLE customers (\n  id INTEGER NOT NULL,\n  name VARCHAR NOT NULL,\n  country VARCHAR,\n"
         "  PRIMARY KEY (id)\n)"),
    ),
}  # fmt: skip


@pytest.fixture
def shop(shared_shop: tuple[Site, Database]) -> Database:
    return shared_shop[1]


@pytest.mark.parametrize("sql", ANSWERS)
def test_a_habit_is_answered(shop: Database, sql: str) -> None:
    answer = answer_habit(sql, shop.manifest)
    assert isinstance(answer, Listing)
    assert answer.rows == ANSWERS[sql]
    assert all(len(row) == len(answer.columns) for row in answer.rows)


def test_plans_and_summaries_are_left_to_the_engine(shop: Database) -> None:
    found = [
        answer_habit(sql, shop.manifest)
        for sql in (
            "EXPLAIN SELECT 1",
            "EXPLAIN QUERY PLAN SELECT 1",
            "DESCRIBE SELECT 1",
            "SUMMARIZE orders",
            "SUMMARIZE FROM orders",
        )
    ]
    assert found == [
        Plan("EXPLAIN", "SELECT 1"),
        Plan("EXPLAIN", "SELECT 1"),
        Plan("DESCRIBE", "SELECT 1"),
        Summary(shop.manifest.tables[2]),
        Plan("SUMMARIZE", "FROM orders"),
    ]


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "SELECT 'SHOW TABLES'", "SHOW TABLES; DROP TABLE x", "INSERT INTO t VALUES (1)", ""]
)
def test_everything_else_is_no_habit(shop: Database, sql: str) -> None:
    assert answer_habit(sql, shop.manifest) is None


def test_an_unknown_table_names_near_ones_and_another_database_is_refused(shop: Database) -> None:
    with pytest.raises(UnknownTable, match="Near names: orders"):
        answer_habit("DESCRIBE order", shop.manifest)
    with pytest.raises(Refused, match="there is one database here, shop"):
        answer_habit("USE mysql", shop.manifest)
