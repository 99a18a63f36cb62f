"""Layer one by itself: what passes, what is refused, in what words."""

import pytest

from envs.sql.guard import MAX_DEPTH, MAX_LENGTH, Guard
from envs.sql.manifest import Column, Manifest, Table, View
from envs.sql.refusal import Refused, UnknownTable, Unparsable


def columns(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, type="VARCHAR") for name in names)


MANIFEST = Manifest(
    database="shop",
    version="0" * 64,
    tables=(
        Table(name="customers", columns=columns("id", "name", "country"), rows=4, size=1),
        Table(name="orders", columns=columns("id", "customer_id", "amount", "d"), rows=4, size=1),
    ),
    views=(View(name="spending", columns=columns("name", "total"), sql="SELECT 1"),),
)
GUARD = Guard(MANIFEST)

HONEST = (
    "SELECT * FROM customers",
    "select name from CUSTOMERS where country is null;",
    "SELECT * FROM main.customers",
    "FROM customers",
    "FROM orders SELECT sum(amount)",
    "TABLE customers",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT 1",
    "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1",
    "PIVOT orders ON customer_id USING sum(amount)",
    "FROM orders PIVOT (sum(amount) FOR customer_id IN (1, 2))",
    "UNPIVOT orders ON id, customer_id INTO NAME n VALUE v",
    "WITH customers AS (SELECT 1 AS id) SELECT * FROM customers",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r",
    "SELECT * FROM customers c ASOF JOIN orders o ON c.id >= o.id",
    "SELECT name, row_number() OVER (PARTITION BY country ORDER BY name DESC) FROM customers QUALIFY true",
    "SELECT count(*) FILTER (WHERE amount > 3), sum(amount) OVER w FROM orders WINDOW w AS (ORDER BY id)",
    "SELECT country, count(*) FROM customers GROUP BY ROLLUP (country)",
    "SELECT * EXCLUDE (id) REPLACE (upper(name) AS name) FROM customers",
    "SELECT COLUMNS('i.*') FROM customers",
    "SELECT list_transform([1, 2], lambda x: x + 1), [y * 2 FOR y IN [1, 2] IF y > 1], {'a': 1}.a, MAP {'k': 1}['k']",
    "SELECT json_extract('{\"a\": 1}', '$.a'), '{\"a\": [1]}'::JSON -> 'a' ->> 0",
    "SELECT strftime(d, '%Y'), date_trunc('month', d), d + INTERVAL 3 DAY, extract(year FROM d) FROM orders",
    "SELECT regexp_extract(name, '(a)', 1), string_agg(name, ', ' ORDER BY name) FROM customers GROUP BY name",
    "SELECT quantile_cont(amount, 0.5), percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM orders",
    "SELECT CASE WHEN 1 > 3 THEN 'high' ELSE 'low' END, coalesce(NULL, 1), nullif(1, 1), TRY_CAST('x' AS INT)",
    "SELECT unnest([1, 2]), generate_subscripts([1], 1)",
    "SELECT * FROM range(5), generate_series(1, 3) AS t(i), unnest(['a']) AS u(x)",
    "SELECT * FROM json_each('[1, 2]')",
    "SELECT * FROM customers c, LATERAL (SELECT sum(amount) FROM orders o WHERE o.customer_id = c.id)",
    "SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders) AND EXISTS (FROM orders)",
    "SELECT * FROM customers NATURAL JOIN orders ORDER BY ALL LIMIT 10% OFFSET 1",
    'SELECT "name" AS "the name", \'it\'\'s\' FROM "customers" -- a comment',
    "/* before */ SELECT DISTINCT ON (country) * FROM customers /* after */",
    "SELECT * FROM spending WHERE total BETWEEN 1 AND 2",
    "SELECT now(), current_date, today(), version(), pi(), random(), uuid()",
    "SELECT sum(CAST(amount AS DECIMAL(8, 2)))::DOUBLE / count(*) FROM orders HAVING count(*) > 0",
    "SELECT 1 UNION BY NAME SELECT 2 AS a",
    "SELECT a.b.c FROM (SELECT {'b': {'c': 1}} AS a)",
    "SELECT * FROM customers USING SAMPLE 10%",
    "SELECT E'a\\n', $$text$$, 1e5, 0x1F, 1_000",
    "SELECT name.lower().trim() FROM customers",
    "SELECT max_by(name, id), arg_min(name, id), mode(country), median(id), histogram(country) FROM customers",
    "SELECT * FROM information_schema.columns c JOIN sqlite_master m ON c.table_name = m.name",
    "SELECT city.name FROM shop.customers AS city",
    "SELECT * FROM shop.main.customers",
    "WITH Top5 AS (SELECT * FROM customers) SELECT TOP5.name FROM top5",
    "WITH p AS (PIVOT orders ON customer_id USING sum(amount)) SELECT * FROM P",
    "PIVOT orders ON customer_id USING sum(amount) GROUP BY d ORDER BY d DESC LIMIT 3 -- newest",
    "UNPIVOT orders ON id, customer_id INTO NAME n VALUE v ORDER BY ALL LIMIT 3 OFFSET 1;",
    "WITH p AS (PIVOT orders ON id USING sum(amount) GROUP BY d ORDER BY d LIMIT 3) SELECT * FROM p ORDER BY d",
    "SELECT * FROM (PIVOT orders ON id USING sum(amount) ORDER BY d) a, (UNPIVOT orders ON id ORDER BY 1 LIMIT 2) b",
    "WITH o AS (FROM orders ORDER BY id LIMIT 9) PIVOT o ON customer_id USING sum(amount) GROUP BY d ORDER BY d",
    "SELECT name COLLATE NOCASE FROM customers ORDER BY name COLLATE NOCASE",
    "SELECT epoch(d), time_bucket(INTERVAL '2 days', d), list_distance([1], [2]) FROM orders",
)


@pytest.mark.parametrize("sql", HONEST)
def test_honest_queries_pass(sql: str) -> None:
    GUARD.check(sql)


REFUSED = {
    "DROP TABLE customers": "DROP is refused: the database is read-only",
    "INSERT INTO customers VALUES (1)": "INSERT is refused: the database is read-only",
    "WITH x AS (DELETE FROM customers RETURNING *) SELECT * FROM x": "DELETE is refused",
    "COPY customers TO 'x.csv'": "COPY is refused: only queries",
    "SET threads = 1": "SET is refused",
    "SELECT * INTO t FROM customers": "SELECT INTO is refused",
    "SELECT * FROM customers FOR UPDATE": "FOR UPDATE is refused",
    "SELECT ?": "query parameters are refused",
    "SELECT 1; SELECT 2": "one statement at a time: this holds 2",
    "": "there is no statement here",
    "SELECT a\0": "may not hold a NUL",
    "SELECT read_text('x')": "function 'read_text' is unknown or not allowed",
    "SELECT lenght(name) FROM customers": "Near names: length",
    "SELECT 1 FROM 'x.csv'": "there is no table 'x.csv'",
    "SELECT * FROM costumers": "Near names: customers",
    "WITH p AS (PIVOT nowhere ON a USING sum(b)) SELECT * FROM p": "there is no table 'nowhere'",
    "PIVOT nowhere ON a USING sum(b) ORDER BY a": "there is no table 'nowhere'",
    "PIVOT orders ON d USING sum(id) ORDER BY (SELECT a FROM nowhere)": "there is no table 'nowhere'",
    "WITH p AS (PIVOT nowhere ON a USING sum(b) ORDER BY a) FROM p": "there is no table 'nowhere'",
    "PIVOT orders ON d USING sum(id) ORDER BY 1) UNION (SELECT 1": "cannot be read as SQL",
    "PIVOT orders ON d USING sum(id) ORDER BY 1; DROP TABLE orders": "one statement at a time: this holds 2",
    "WITH \u212a AS (SELECT 1) SELECT * FROM k": "there is no table 'k'",
    "SELECT * FROM other.customers": "there is no table 'other.customers'",
    "SELECT " + "x" * MAX_LENGTH: f"at most {MAX_LENGTH:,} characters",
    "SELECT " + "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1): f"more than {MAX_DEPTH} deep",
    "SELECT (SELECT 1)" + " + (SELECT 1)" * 500: "nests too deep",
    "SELECT " + "-" * 1 + " -" * MAX_DEPTH + "1": f"more than {MAX_DEPTH} deep",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_a_refusal_says_what_is_wrong(sql: str) -> None:
    with pytest.raises(Refused) as refusal:
        GUARD.check(sql)
    assert REFUSED[sql] in str(refusal.value)


def test_kinds_of_refusal_are_told_apart() -> None:
    with pytest.raises(UnknownTable):
        GUARD.check("SELECT * FROM nowhere")
    with pytest.raises(Unparsable):
        GUARD.check("SELECT FROM WHERE")


def test_the_depth_that_is_allowed_is_allowed() -> None:
    GUARD.check("SELECT " + "(" * (MAX_DEPTH - 1) + "1" + ")" * (MAX_DEPTH - 1))


def test_a_query_runs_as_it_was_written_unless_it_must_be_rewritten() -> None:
    assert GUARD.check(" SELECT name\nFROM customers ; ").sql == "SELECT name\nFROM customers"
    assert GUARD.check("SELECT name FROM shop.customers").sql == "SELECT name FROM customers"
    qualified = GUARD.check("SELECT shop.customers.name FROM shop.customers WHERE Shop.Customers.id = 1")
    assert qualified.sql == "SELECT customers.name FROM customers WHERE Customers.id = 1"
    catalog = GUARD.check("SELECT name FROM sqlite_master WHERE type = 'view'")
    assert catalog.catalog
    assert "'spending'" in catalog.sql


def test_a_table_called_like_a_catalog_is_itself() -> None:
    own = Manifest(
        database="x", version="", tables=(Table(name="sqlite_master", columns=columns("a"), rows=0, size=0),)
    )
    assert Guard(own).check("SELECT * FROM sqlite_master").sql == "SELECT * FROM sqlite_master"


def test_random_values_of_a_view_are_asked_for_with_a_seed_too() -> None:
    chancy = View(name="shuffled", columns=columns("name"), sql="SELECT name FROM customers ORDER BY random()")
    guard = Guard(MANIFEST.model_copy(update={"views": (chancy,)}))
    assert guard.check("SELECT * FROM shuffled").chancy
    assert not GUARD.check("SELECT * FROM spending").chancy
