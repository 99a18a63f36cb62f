"""The environment as the loop sees it: tools, evidence, answers, pinning."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.evidence import Evidence
from envs.score import Submission
from envs.sql.catalog import Database
from envs.sql.environment import SqlEnvironment
from envs.sql.load import load_database
from envs.sql.session import SqlSession
from envs.task import Reference, Task
from envs.tool import MalformedCall, ToolResult


@pytest.fixture(scope="module")
def site(shared_shop: tuple[Site, Database]) -> Site:
    return shared_shop[0]


@pytest.fixture(scope="module")
def shop(shared_shop: tuple[Site, Database]) -> Database:
    return shared_shop[1]


@pytest.fixture(scope="module")
def environment(site: Site) -> Iterator[SqlEnvironment]:
    found = SqlEnvironment(site)
    yield found
    asyncio.run(found.close())


def make_task(dialect: str | None = None, **world: Any) -> Task:
    return Task(
        id="t1", environment="sql", question="Who spent most?", world={"database": "shop", **world}, dialect=dialect
    )


async def use(environment: SqlEnvironment, tool: str, dialect: str | None = None, **arguments: Any) -> ToolResult:
    session = await environment.start(make_task(dialect), {})
    spec = {spec.name: spec for spec in environment.tools}[tool]
    try:
        return await session.call(tool, spec.parse(arguments))
    finally:
        await session.close()


def met(result: ToolResult) -> list[tuple[str, str]]:
    return [(piece.how, piece.source) for piece in result.evidence]


async def test_list_tables_tells_tables_views_and_rows(environment: SqlEnvironment) -> None:
    result = await use(environment, "list_tables")
    assert result.text == (
        "Tables of shop:\ncustomers (4 rows)\norder notes (2 rows)\norders (4 rows)\n"
        "spending (view)\nbig_spenders (view)"
    )
    assert met(result) == [("listed", "customers"), ("listed", "order notes"), ("listed", "orders")]


async def test_describe_table_tells_types_keys_rows_and_values(environment: SqlEnvironment) -> None:
    result = await use(environment, "describe_table", table="ORDERS")
    assert result.text == (
        "orders: 4 rows\n"
        "CREATE TABLE orders (\n  id INTEGER NOT NULL,\n  customer_id INTEGER,\n  amount DECIMAL(8,2),\n  d DATE,\n"
        "  PRIMARY KEY (id),\n  FOREIGN KEY (customer_id) REFERENCES customers (id)\n)\n"
        "Sample values:\n  id: 1, 2, 3\n  customer_id: 1, 2, 3\n  amount: 10.5, 20, 5.25\n"
        "  d: 2024-01-05, 2024-02-01, 2024-02-02"
    )
    assert met(result) == [("listed", "orders")]


async def test_sample_rows_opens_the_table(environment: SqlEnvironment) -> None:
    result = await use(environment, "sample_rows", table="order notes", n=1)
    assert result.text == "order_id | the note\n1 | first\\nsecond\n(1 row)"
    assert met(result) == [("opened", "order notes")]


@pytest.mark.parametrize("name", ["main.orders", "shop.orders", "[orders]", "`Orders`"])
async def test_a_table_is_found_under_the_names_that_queries_give_it(environment: SqlEnvironment, name: str) -> None:
    described = await use(environment, "describe_table", table=name)
    assert described.text.startswith("orders: 4 rows\n")
    assert met(await use(environment, "sample_rows", table=name)) == [("opened", "orders")]


async def test_a_table_named_by_a_word_of_sql_is_described_sampled_and_summarized(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "bank.duckdb")) as connection:
        connection.execute('CREATE TABLE "order" AS SELECT 1 AS id, 2 AS "group"')
    site = Site(root=tmp_path / "home", blobs=MemoryBlobs())
    load_database(tmp_path / "bank.duckdb", "shop", site)
    bank = SqlEnvironment(site)
    try:
        described = await use(bank, "describe_table", table="order")
        sampled = await use(bank, "sample_rows", table="order")
        summary = await use(bank, "run_sql", sql='SUMMARIZE "order"')
    finally:
        await bank.close()
    assert 'CREATE TABLE "order" (\n  id INTEGER,\n  "group" INTEGER\n)' in described.text
    assert sampled.text == "id | group\n1 | 2\n(1 row)"
    assert (summary.is_error, met(summary)) == (False, [("opened", "order")])


async def test_no_tool_tells_more_than_its_bound(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "wide.duckdb")) as connection:
        connection.execute("CREATE TABLE wide AS SELECT " + ", ".join(f"1 AS column_number_{i}" for i in range(900)))
        for i in range(200):
            connection.execute(f'CREATE TABLE "{i} {"x" * 100}" (a INTEGER)')
    site = Site(root=tmp_path / "home", blobs=MemoryBlobs())
    load_database(tmp_path / "wide.duckdb", "shop", site)
    wide = SqlEnvironment(site)
    try:
        told = [await use(wide, "describe_table", table="wide"), await use(wide, "list_tables")]
        refused = await use(wide, "run_sql", sql="EXPLAIN " + "a." * 100_000 + "a")
    finally:
        await wide.close()
    for result in told:
        assert result.raw is not None
        assert len(result.text.encode()) < 17 * 1024
        assert len(site.blobs.get(result.raw.hash)) == sum(b - a for a, b in result.shown) + result.hidden_bytes
    assert (refused.is_error, len(refused.text) < 3_000) == (True, True)


async def test_a_month_is_a_month_and_not_30_days(environment: SqlEnvironment) -> None:
    sql = "SELECT i, d FROM (VALUES (INTERVAL 1 MONTH, 2), (INTERVAL 3 DAY, 1)) AS t(i, d) ORDER BY d -- by day"
    assert (await use(environment, "run_sql", sql=sql)).text == "i | d\n3 days | 1\n1 month | 2\n(2 rows)"
    within = "SELECT [INTERVAL 1 MONTH] AS l, {'i': TIMESTAMP_NS '2024-01-02 03:04:05.000000006'} AS s"
    shown = "l | s\n[1 month] | {'i': '2024-01-02 03:04:05.000000006'}\n(1 row)"
    assert (await use(environment, "run_sql", sql=within)).text == shown


async def test_random_ids_are_the_same_each_time(environment: SqlEnvironment) -> None:
    for sql in ("SELECT uuidv4(), gen_random_uuid(), random()", "SELECT main.random()"):
        first = await use(environment, "run_sql", sql=sql)
        assert (await use(environment, "run_sql", sql=sql)).text == first.text


async def test_evidence_holds_the_whole_table(environment: SqlEnvironment, shop: Database) -> None:
    result = await use(
        environment, "run_sql", sql="WITH c AS (SELECT * FROM customers) SELECT name FROM c WHERE id = 1"
    )
    assert result.evidence == (
        Evidence.model_validate(
            {
                "kind": "table",
                "source": "customers",
                "version": shop.version,
                "how": "opened",
                "coverage": {"kind": "full"},
                "blob": shop.manifest.blobs["customers"],
                "title": "customers",
                "query": "WITH c AS (SELECT * FROM customers) SELECT name FROM c WHERE id = 1",
            }
        ),
    )


async def test_a_view_opens_the_tables_behind_it(environment: SqlEnvironment) -> None:
    result = await use(environment, "run_sql", sql="SELECT name FROM big_spenders ORDER BY total DESC")
    assert (result.text, met(result)) == (
        "name\nCy\nAda\n(2 rows)",
        [("opened", "customers"), ("opened", "orders")],
    )


async def test_long_results_are_cut_for_the_model_and_kept_whole(environment: SqlEnvironment, site: Site) -> None:
    result = await use(environment, "run_sql", sql="SELECT range AS i FROM range(3000)")
    assert result.text.endswith("\n49\n(3,000 rows; the first 50 are shown, 2,950 left out)")
    assert result.raw is not None
    whole = site.blobs.get(result.raw.hash)
    assert whole.decode().splitlines() == ["i", *map(str, range(3000))]
    assert b"".join(whole[a:b] for a, b in result.shown).decode() in result.text
    assert sum(b - a for a, b in result.shown) + result.hidden_bytes == len(whole)
    assert result.lost_bytes == 0


async def test_rows_beyond_what_is_kept_are_counted(environment: SqlEnvironment) -> None:
    result = await use(environment, "run_sql", sql="FROM range(20000)")
    assert "(20,000 rows; the first 50 are shown, 19,950 left out)" in result.text
    assert result.lost_bytes > 0
    endless = await use(environment, "run_sql", sql="FROM range(1000000000)")
    assert "(more than 100,000 rows; the first 50 are shown, more than" in endless.text


async def test_a_row_too_large_to_keep_is_counted_as_lost(environment: SqlEnvironment) -> None:
    result = await use(environment, "run_sql", sql="SELECT repeat('x', 20000000) AS c")
    assert result.text == "c\n(1 row; too wide to show: select fewer or shorter columns)"
    assert result.lost_bytes == 20_000_004


async def test_a_wide_value_is_cut_in_the_middle(environment: SqlEnvironment) -> None:
    result = await use(environment, "run_sql", sql="SELECT repeat('x', 100000) AS wide")
    assert "bytes left out" in result.text
    assert len(result.text) < 20_000
    assert result.hidden_bytes > 80_000


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT nam FROM customers", ['Referenced column "nam" not found', "Columns of customers: id, name, country"]),
        ("SELECT * FROM costumer", ["there is no table 'costumer'", "Near names: customers"]),
        ("DELETE FROM customers", ["DELETE is refused: the database is read-only"]),
        ('SELECT * FROM customers WHERE name = "Ada"', ["Text goes in single quotes: 'Ada'"]),
        ("SELEC 1", ["cannot be read as SQL"]),
        ("DESCRIBE custmers", ["Near names: customers"]),
    ],
)
async def test_a_fault_is_an_error_that_helps(environment: SqlEnvironment, sql: str, words: list[str]) -> None:
    result = await use(environment, "run_sql", sql=sql)
    assert result.is_error
    assert [w for w in words if w not in result.text] == []
    assert result.evidence == ()


@pytest.mark.parametrize("schema", ["shop", "main", "public"])
async def test_the_catalog_is_found_under_the_schema_that_is_asked_for(
    environment: SqlEnvironment, schema: str
) -> None:
    asked = f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' AND table_type = 'VIEW'"
    result = await use(environment, "run_sql", sql=asked)
    assert result.text == "table_name\nspending\nbig_spenders\n(2 rows)"
    assert met(result) == [("listed", "customers"), ("listed", "order notes"), ("listed", "orders")]


async def test_errors_do_not_tell_where_the_database_lies(environment: SqlEnvironment, shop: Database) -> None:
    plan = await use(environment, "run_sql", sql="EXPLAIN SELECT * FROM customers")
    assert "Table: customers" in plan.text
    for sql in ("EXPLAIN SELECT * FROM customers", "SELECT customers.nope FROM customers", "SELECT * FROM range('x')"):
        result = await use(environment, "run_sql", sql=sql)
        assert shop.version not in result.text
        assert str(shop.path.parent) not in result.text


async def test_answer_hands_in_the_rows(environment: SqlEnvironment) -> None:
    sql = "SELECT name, total FROM spending ORDER BY total DESC LIMIT 2"
    result = await use(environment, "answer", sql=sql)
    assert result.final
    assert result.submission == Submission(
        kind="rows",
        text='[["Cy",99.99],["Ada",30.5]]',
        columns=("name", "total"),
        rows=(("Cy", 99.99), ("Ada", 30.5)),
        sql=sql,
    )
    assert met(result) == [("opened", "customers"), ("opened", "orders")]


@pytest.mark.parametrize(
    "sql", ["SELECT nope FROM customers", "SHOW TABLES", "DROP TABLE customers", "FROM range(300000)"]
)
async def test_an_answer_that_gives_no_result_ends_nothing(environment: SqlEnvironment, sql: str) -> None:
    result = await use(environment, "answer", sql=sql)
    assert (result.is_error, result.final) == (True, False)


async def test_pin_fills_in_version_tables_and_gold_rows(environment: SqlEnvironment, shop: Database) -> None:
    reference = Reference(data={"gold_sql": 'SELECT name FROM customers WHERE country = "us" ORDER BY name'})
    task, pinned = environment.pin(make_task(dialect="mysql"), reference)
    assert task.world == {
        "database": "shop",
        "version": shop.version,
        "tables": {name: blob.model_dump(mode="json") for name, blob in shop.manifest.blobs.items()},
    }
    assert task.group == "shop"
    assert pinned == Reference(
        data={
            "gold_sql": 'SELECT name FROM customers WHERE country = "us" ORDER BY name',
            "columns": ["name"],
            "rows": [["Bo"], ["Cy"]],
            "ordered": True,
            "scorer": "spider",
        }
    )
    assert environment.pin(task, pinned) == (task, pinned)


def test_the_order_of_given_rows_counts_where_their_query_orders(environment: SqlEnvironment) -> None:
    given = {"gold_sql": "SELECT name FROM customers ORDER BY id", "rows": [["Bo"], ["Ada"]]}
    for more, ordered in (({}, True), ({"ordered": False}, False), ({"gold_sql": ""}, None)):
        data = given | more
        _, pinned = environment.pin(make_task(), Reference(data=data))
        assert pinned == Reference(data=data if ordered is None else data | {"ordered": ordered})


@pytest.mark.parametrize(
    ("task", "reference", "words"),
    [
        (
            make_task(),
            {"gold_sql": "SELECT nope FROM customers"},
            'gold_sql does not run on shop: Binder Error.*"nope"',
        ),
        (make_task(), {"gold_sql": "DROP TABLE customers"}, "gold_sql does not run on shop: DROP is refused"),
        (make_task(), {"gold_sql": ""}, "neither gold_sql nor rows"),
        (make_task(), {"gold": "x"}, "^reference.gold: Extra inputs"),
        (make_task(), {"rows": [], "scorer": "exact"}, "unknown scorer 'exact'; known: bird, spider, values"),
        (make_task(database="shops"), None, "did you mean 'shop'"),
        (make_task(version="1" * 64), None, "has no version"),
        (make_task(schema="x"), None, "^world.schema: Extra inputs"),
        (make_task("postgresql"), None, "unknown dialect 'postgresql'; did you mean 'postgres'.; known: .*mysql"),
        (make_task(), {"rows": [[1, 2], [3]]}, "reference.rows: the rows are of different lengths"),
    ],
)
def test_pin_refuses_what_could_not_run_or_be_scored(
    environment: SqlEnvironment, task: Task, reference: dict[str, Any] | None, words: str
) -> None:
    with pytest.raises(TaskError, match=words):
        environment.pin(task, None if reference is None else Reference(data=reference))


def test_a_task_whose_tables_were_collected_is_refused(site: Site, shop: Database) -> None:  # noqa: ARG001
    environment = SqlEnvironment(Site(root=site.root, blobs=MemoryBlobs()))
    with pytest.raises(TaskError, match="no longer stored; load it again"):
        environment.pin(make_task(), None)


async def test_score_needs_no_session(environment: SqlEnvironment) -> None:
    reference = Reference(data={"rows": [["Ada", 30.5]], "gold_sql": "x"})
    right = Submission(kind="rows", text="", rows=((30.5, "Ada"),))
    wrong = Submission(kind="rows", text="", rows=((30.4, "Ada"),))
    scores = [await environment.score(make_task(), reference, s) for s in (right, wrong)]
    assert [(s.scorer, s.value, s.verdict) for s in scores] == [
        ("sql/spider", 1.0, "right"),
        ("sql/spider", 0.0, "wrong"),
    ]


async def test_an_unknown_tool_is_malformed(environment: SqlEnvironment) -> None:
    session: SqlSession = await environment.start(make_task(), {})
    with pytest.raises(MalformedCall, match="there is no tool 'submit'"):
        await session.call("submit", None)
    assert await session.submission() is None


async def test_two_sessions_give_the_same_observations(environment: SqlEnvironment) -> None:
    for sql in ("SELECT random() AS r", "FROM customers USING SAMPLE 2", "SELECT uuid() AS u", "SHOW TABLES"):
        first, second = [await use(environment, "run_sql", sql=sql) for _ in range(2)]
        assert first.model_copy(update={"seconds": 0}) == second.model_copy(update={"seconds": 0})


def test_the_prompt_is_the_question_and_the_database(environment: SqlEnvironment) -> None:
    assert environment.prompt(make_task()) == "Who spent most?\n\nDatabase: shop"
