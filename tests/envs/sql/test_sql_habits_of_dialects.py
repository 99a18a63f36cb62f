"""What people type out of habit in each dialect gets an answer that helps, through the whole engine."""

from collections.abc import Iterator

import orjson
import pytest

from envs.environment import Site
from envs.sql.catalog import Database
from envs.sql.engine import Ask, Engine

TABLES = ["customers", "order notes", "orders"]
VIEWS = ["spending", "big_spenders"]
ALL = [*TABLES, *VIEWS]
COLUMNS = ["id", "customer_id", "amount", "d"]
UPPER = [name.upper() for name in COLUMNS]

ANSWERS: dict[tuple[str | None, str], list[str]] = {
    ("snowflake", "SHOW TERSE TABLES"): ALL,
    ("snowflake", "SHOW TABLES IN SCHEMA public"): ALL,
    ("snowflake", "SHOW VIEWS"): VIEWS,
    ("snowflake", "DESC TABLE orders"): COLUMNS,
    ("snowflake", "DESCRIBE VIEW spending"): ["name", "total"],
    ("snowflake", "SHOW COLUMNS IN TABLE orders"): COLUMNS,
    ("snowflake", "SHOW PRIMARY KEYS IN TABLE orders"): ["orders"],
    ("tsql", "EXEC sp_help 'orders'"): COLUMNS,
    ("tsql", "sp_columns orders"): COLUMNS,
    ("tsql", "EXEC sp_tables"): ALL,
    ("tsql", "SELECT name FROM sys.tables"): TABLES,
    ("tsql", "SELECT name FROM sys.views"): VIEWS,
    ("tsql", "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"): TABLES,
    ("tsql", "SELECT TOP 2 [name] FROM [dbo].[customers] ORDER BY id"): ["Ada", "Bo"],
    ("oracle", "SELECT table_name FROM user_tables"): [name.upper() for name in TABLES],
    ("oracle", "SELECT column_name FROM all_tab_columns WHERE table_name = 'ORDERS' ORDER BY column_id"): UPPER,
    ("oracle", "SELECT dummy FROM dual"): ["X"],
    ("oracle", "DESC orders"): COLUMNS,
    ("bigquery", "SELECT table_name FROM shop.INFORMATION_SCHEMA.TABLES"): ALL,
    ("bigquery", "SELECT table_name FROM `shop.INFORMATION_SCHEMA.TABLES`"): ALL,
    ("bigquery", "SELECT name FROM `project.shop.customers` ORDER BY id LIMIT 1"): ["Ada"],
    ("postgres", "\\d"): ALL,
    ("postgres", "\\dv"): VIEWS,
    ("postgres", "\\d+ orders"): COLUMNS,
    ("postgres", "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'public'"): TABLES,
    ("postgres", "SELECT viewname FROM pg_views"): VIEWS,
    ("postgres", "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders'"): COLUMNS,
    ("postgres", "SELECT name FROM public.customers ORDER BY id LIMIT 1"): ["Ada"],
    (
        "postgres",
        "SELECT column_name, data_type, is_nullable, column_default, character_maximum_length, numeric_precision"
        " FROM information_schema.columns WHERE table_name = 'orders' ORDER BY ordinal_position",
    ): COLUMNS,
    (
        "mysql",
        "SELECT column_name, extra, column_comment FROM information_schema.columns WHERE table_name = 'orders'"
        " AND numeric_scale = 2",
    ): ["amount"],
    ("mysql", "SELECT table_name, table_rows FROM information_schema.tables WHERE table_rows > 2"): [
        "customers",
        "orders",
    ],
    ("mysql", "SHOW FULL COLUMNS FROM orders"): COLUMNS,
    ("mysql", "SHOW KEYS FROM orders"): ["orders"],
    ("mysql", "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"): ALL,
    ("mysql", "SELECT name FROM shop.customers ORDER BY id LIMIT 1"): ["Ada"],
    ("sqlite", ".tables"): ALL,
    ("sqlite", ".indexes orders"): ["orders"],
    ("sqlite", "SELECT name FROM sqlite_schema WHERE type = 'table'"): TABLES,
    ("sqlite", "SELECT name FROM pragma_table_info('orders')"): COLUMNS,
    ("sqlite", "SELECT p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.name = 'orders'"): COLUMNS,
    ("sqlite", "SELECT \"table\" FROM pragma_foreign_key_list('orders')"): ["customers"],
    (
        "postgres",
        "SELECT ccu.table_name FROM information_schema.table_constraints tc"
        " JOIN information_schema.key_column_usage kcu ON tc.constraint_name = kcu.constraint_name"
        " JOIN information_schema.constraint_column_usage ccu ON ccu.constraint_name = tc.constraint_name"
        " WHERE tc.constraint_type = 'FOREIGN KEY' AND kcu.column_name = 'customer_id'",
    ): ["customers"],
    ("spark", "SHOW TABLES IN default"): ALL,
    ("spark", "DESCRIBE EXTENDED orders"): COLUMNS,
    ("spark", "DESCRIBE TABLE FORMATTED orders"): COLUMNS,
    ("redshift", "SELECT \"column\" FROM pg_table_def WHERE tablename = 'orders'"): COLUMNS,
    ("redshift", "SELECT table_name FROM svv_tables"): ALL,
    ("redshift", "SELECT column_name FROM svv_columns WHERE table_name = 'orders'"): COLUMNS,
    (None, "SHOW ALL TABLES"): ALL,
    (None, "PRAGMA show_tables"): ALL,
}
PLANS = {
    "postgres": "EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM orders",
    "mysql": "EXPLAIN FORMAT=JSON SELECT * FROM orders",
    "sqlite": "EXPLAIN QUERY PLAN SELECT * FROM orders",
    "duckdb": "EXPLAIN ANALYZE SELECT * FROM orders",
}


@pytest.fixture(scope="module")
def engine(shared_shop: tuple[Site, Database]) -> Iterator[Engine]:
    database = shared_shop[1]
    made = Engine(database.path, database.manifest)
    yield made
    made.close()


@pytest.mark.parametrize(("dialect", "sql"), sorted(ANSWERS, key=str))
def test_a_habit_of_a_dialect_is_answered(engine: Engine, dialect: str | None, sql: str) -> None:
    """The first column with text in it holds the names."""
    reply = orjson.loads(engine.run(Ask(sql, dialect=dialect)))
    assert reply["ok"], reply["words"]
    at = next(i for i, cell in enumerate(reply["rows"][0]) if isinstance(cell, str))
    assert [row[at] for row in reply["rows"]] == ANSWERS[dialect, sql]


@pytest.mark.parametrize("dialect", PLANS)
def test_a_plan_is_drawn_and_reads_nothing(engine: Engine, dialect: str) -> None:
    reply = orjson.loads(engine.run(Ask(PLANS[dialect], dialect=dialect)))
    assert (reply["ok"], reply["tables"], reply["listed"], reply["query"]) == (True, [], ["orders"], False)
    assert "orders" in "".join(row[0] for row in reply["rows"])


@pytest.mark.parametrize(
    "sql", ["SHOW", "SHOW VARIABLES LIKE 'version'", "PRAGMA foreign_keys", "DESCRIBE DATABASE shop"]
)
def test_what_has_no_answer_here_is_refused_with_the_way_to_ask(engine: Engine, sql: str) -> None:
    reply = orjson.loads(engine.run(Ask(sql, dialect="mysql")))
    words = "What there is, list_tables and describe_table tell, and so do SHOW TABLES and DESCRIBE <table>."
    assert (reply["ok"], reply["words"].endswith(words)) == (False, True)
