"""The values that a dialect's own database would give, and not those that DuckDB gives for the same words."""

from typing import Any

import orjson
import pytest

from envs.environment import Site
from envs.sql.catalog import Database
from envs.sql.engine import Ask, Engine


@pytest.fixture
def shop(shared_shop: tuple[Site, Database]) -> Database:
    return shared_shop[1]


def run(shop: Database, sql: str, dialect: str | None, gold: bool = False) -> Any:
    engine = Engine(shop.path, shop.manifest)
    try:
        reply = orjson.loads(engine.run(Ask(sql, dialect=dialect, dialect_first=gold)))
    finally:
        engine.close()
    return reply["rows"] if reply["ok"] else reply["words"].splitlines()[0]


INTEGERS_DIVIDE = ("sqlite", "postgres", "redshift", "tsql", "presto", "trino", "athena", "teradata")


@pytest.mark.parametrize("gold", [False, True])
def test_integers_divide_to_integers_where_they_do_there(shop: Database, gold: bool) -> None:
    sql = "SELECT count(*) / 3, count(*) / 3.0 > 1.3 FROM customers"
    found = {dialect: run(shop, sql, dialect, gold) for dialect in (*INTEGERS_DIVIDE, "mysql", "bigquery", "snowflake")}
    assert {dialect for dialect, rows in found.items() if rows == [[1, True]]} == set(INTEGERS_DIVIDE)


@pytest.mark.parametrize("gold", [False, True])
def test_what_is_divided_by_zero_is_null_in_mysql_and_sqlite(shop: Database, gold: bool) -> None:
    sql = "SELECT max(id) / (min(id) - 1), max(id) % (min(id) - 1), 1.5 / (min(id) - 1) FROM customers"
    assert run(shop, sql, "mysql", gold) == run(shop, sql, "sqlite", gold) == [[None, None, None]]


@pytest.mark.parametrize(
    ("dialect", "order", "null_at"),
    [("postgres", "DESC", 0), ("postgres", "ASC", 3), ("snowflake", "DESC", 0), ("oracle", "DESC", 0),
     ("redshift", "DESC", 0), ("tsql", "ASC", 0), ("bigquery", "ASC", 0), ("spark", "ASC", 0), ("spark", "DESC", 3),
     ("presto", "DESC", 3), (None, "DESC", 3)],
)  # fmt: skip
def test_null_comes_where_it_comes_there(shop: Database, dialect: str, order: str, null_at: int) -> None:
    rows = run(shop, f"SELECT country FROM customers ORDER BY country {order}", dialect)
    assert rows.index([None]) == null_at


@pytest.mark.parametrize(
    ("dialect", "template", "text"),
    [
        ("postgres", "YYYY-MM", "2024-02"), ("postgres", "Mon DD, YYYY", "Feb 01, 2024"),
        ("postgres", "Day", "Thursday "),
        ("postgres", "FMMonth FMDD HH24:MI:SS", "February 1 00:00:00"), ("postgres", 'YYYY-"Q"Q', "2024-Q1"),
        ("postgres", "MONTH", "FEBRUARY "), ("postgres", "DY D IYYY-IW", "THU 5 2024-05"),
        ("postgres", "hh12 am", "12 am"),
        ("redshift", "YYYYMMDD", "20240201"), ("oracle", "YYYY-MM", "2024-02"), ("oracle", "DD-MON-YY", "01-FEB-24"),
        ("oracle", "FMMonth DD", "February 1"), ("snowflake", "YYYY-MM-DD", "2024-02-01"),
        ("snowflake", "DD MON YYYY, MMMM", "01 Feb 2024, February"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("gold", [False, True])
def test_a_moment_is_written_by_its_template(
    shop: Database, dialect: str, template: str, text: str, gold: bool
) -> None:
    assert run(shop, f"SELECT to_char(d, '{template}') FROM orders WHERE id = 2", dialect, gold) == [[text]]


def test_a_template_that_is_not_known_is_refused_and_not_passed_over(shop: Database) -> None:
    for dialect, template in (("oracle", "999.00"), ("postgres", "RM"), ("snowflake", "DDTH")):
        words = run(shop, f"SELECT to_char(d, '{template}') FROM orders", dialect, gold=True)
        assert "is not understood here" in words or "unknown or not allowed" in words
    assert run(shop, "SELECT to_char(id) FROM orders WHERE id = 2", "oracle") == [["2"]]


@pytest.mark.parametrize("gold", [False, True])
@pytest.mark.parametrize(
    ("dialect", "cast"),
    [("postgres", "d::varchar(7)"), ("mysql", "CAST(d AS CHAR(7))"), ("tsql", "CONVERT(VARCHAR(7), d, 120)"),
     ("oracle", "CAST(CAST(d AS VARCHAR2(9)) AS VARCHAR2(7))"), ("trino", "CAST(d AS varchar(7))")],
)  # fmt: skip
def test_a_text_is_as_long_as_it_is_cast_to(shop: Database, dialect: str, cast: str, gold: bool) -> None:
    sql = f"SELECT {cast}, count(*) FROM orders WHERE 'Ada' LIKE 'A%' GROUP BY {cast} ORDER BY 1"
    assert run(shop, sql, dialect, gold) == [["2024-01", 1], ["2024-02", 2], ["2024-03", 1]]
    assert run(shop, "SELECT CAST(d AS VARCHAR(7)) FROM orders WHERE id = 1", "sqlite", gold) == [["2024-01-05"]]


@pytest.mark.parametrize("gold", [False, True])
@pytest.mark.parametrize(
    ("dialect", "counted", "numbers"),
    [("mysql", "DAYOFWEEK(d), WEEKDAY(d), WEEK(d)", [6, 4, 0]), ("spark", "dayofweek(d), weekday(d)", [6, 4]),
     ("databricks", "dayofweek(d)", [6]), ("bigquery", "EXTRACT(DAYOFWEEK FROM d)", [6]),
     ("tsql", "DATEPART(weekday, d), DATEPART(dw, d)", [6, 6]), ("postgres", "EXTRACT(DOW FROM d)", [5]),
     ("snowflake", "DAYOFWEEK(d)", [5]), (None, "dayofweek(d), weekday(d), week(d)", [5, 5, 1])],
)  # fmt: skip
def test_days_and_weeks_are_counted_from_where_they_are_there(
    shop: Database, dialect: str | None, counted: str, numbers: list[int], gold: bool
) -> None:
    assert run(shop, f"SELECT {counted} FROM orders WHERE id = 1", dialect, gold) == [numbers]  # a Friday


@pytest.mark.parametrize("gold", [False, True])
@pytest.mark.parametrize(
    ("dialect", "value", "expected"),
    [("mysql", "name REGEXP '^a'", True), ("mysql", "name NOT RLIKE 'DA$'", False), ("postgres", "name ~ '^a'", False),
     ("mysql", "TIME(TIMESTAMP '2024-01-01 10:20:30')", "10:20:30"),
     ("snowflake", "PARSE_JSON('{\"a\": {\"b\": \"x\"}}'):a.b::string", "x"),
     ("databricks", "parse_json('{\"a\": \"x\"}'):a::string", "x")],
)  # fmt: skip
def test_a_value_is_the_one_that_is_there(
    shop: Database, dialect: str, value: str, expected: object, gold: bool
) -> None:
    assert run(shop, f"SELECT {value} FROM customers WHERE id = 1", dialect, gold) == [[expected]]


LACKING = {
    ("mysql", "SUBSTRING_INDEX('a.b.c', '.', 2)"): "a.b",
    ("mysql", "SUBSTRING_INDEX('a.b.c', '.', -1)"): "c",
    ("mysql", "SUBSTRING_INDEX(name, 'd', 1)"): "A",
    ("mysql", "FIND_IN_SET('b', 'a,b')"): 2,
    ("mysql", "FIND_IN_SET('x', 'a,b')"): 0,
    ("mysql", "JSON_UNQUOTE('\"a\"')"): "a",
    ("mysql", "UNIX_TIMESTAMP('1970-01-02')"): 86400,
    ("mysql", "MID('abc', 2, 1)"): "b",
    ("postgres", "jsonb_build_object('a', 1)->>'a'"): "1",
    ("postgres", "jsonb_array_length('[1, 2]'::jsonb)"): 2,
    ("oracle", "REGEXP_SUBSTR('abc', 'b+')"): "b",
    ("oracle", "TRUNC(DATE '2024-02-05', 'MM')"): "2024-02-01",
    ("oracle", "TRUNC(DATE '2024-02-05')"): "2024-02-05",
}


@pytest.mark.parametrize("gold", [False, True])
@pytest.mark.parametrize(("dialect", "call"), LACKING)
def test_a_function_that_duckdb_lacks_gives_what_it_gives_there(
    shop: Database, dialect: str, call: str, gold: bool
) -> None:
    [[value]] = run(shop, f"SELECT {call} FROM customers WHERE id = 1", dialect, gold)
    assert str(value).removesuffix(" 00:00:00") == str(LACKING[dialect, call])
