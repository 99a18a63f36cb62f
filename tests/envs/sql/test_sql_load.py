import fcntl
import json
import os
import sqlite3
import time
from pathlib import Path

import duckdb
import orjson
import pytest

from envs.environment import Site
from envs.errors import TaskError
from envs.sql.catalog import Database, databases, find_database
from envs.sql.load import load_database
from envs.sql.manifest import Column, ForeignKey, LeftOut
from envs.sql.world import TABLE_MEDIA_TYPE


def test_a_duckdb_file_becomes_tables_views_keys_and_what_was_left_out(shop: Database) -> None:
    manifest = shop.manifest
    customers = manifest.find("CUSTOMERS")
    orders = manifest.find("orders")
    assert [t.name for t in manifest.tables] == ["customers", "order notes", "orders"]
    assert customers is not None
    assert customers.columns == (
        Column(name="id", type="INTEGER", nullable=False),
        Column(name="name", type="VARCHAR", nullable=False),
        Column(name="country", type="VARCHAR"),
    )
    assert manifest.tables[0].primary_key == ("id",)
    assert manifest.tables[2].foreign_keys == (ForeignKey(columns=("customer_id",), table="customers", refers=("id",)),)
    assert orders is not None
    assert [v.name for v in manifest.views] == ["spending", "big_spenders"]
    assert [(left.name, "read_text" in left.why) for left in manifest.left_out] == [("elsewhere", True)]


def test_a_table_is_kept_whole_as_text(shop: Database, site: Site) -> None:
    table = shop.manifest.tables[2]
    assert table.blob is not None
    assert table.blob.media_type == TABLE_MEDIA_TYPE
    lines = [json.loads(line) for line in site.blobs.get(table.blob.hash).decode().splitlines()]
    assert lines == [
        {
            "columns": [
                {"name": "id", "type": "INTEGER"},
                {"name": "customer_id", "type": "INTEGER"},
                {"name": "amount", "type": "DECIMAL(8,2)"},
                {"name": "d", "type": "DATE"},
            ]
        },
        [1, 1, "10.50", "2024-01-05"],
        [2, 1, "20.00", "2024-02-01"],
        [3, 2, "5.25", "2024-02-02"],
        [4, 3, "99.99", "2024-03-09"],
    ]
    assert table.size == table.blob.size
    assert table.rows == 4


def test_text_is_exact_where_json_numbers_are_not(tmp_path: Path, site: Site) -> None:
    path = tmp_path / "odd.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT 170141183460469231731687303715884105727 AS h, 'nan'::DOUBLE AS n,"
            " TIMESTAMP '2024-01-02 03:04:05.000006' AS ts, TIMESTAMPTZ '2024-01-02 03:04:05+02' AS tz, 'a'::BLOB AS b,"
            " [1, 2] AS l, {'k': 1.5::DECIMAL(3, 2)} AS s, MAP {1: 'x'} AS m, NULL AS z, INTERVAL 2 DAY AS i,"
            " INTERVAL 1 MONTH AS mo, TIMESTAMP_NS '2024-01-02 03:04:05.000000006' AS ns"
        )
    table = load_database(path, "odd", site).manifest.tables[0]
    assert table.blob is not None
    assert orjson.loads(site.blobs.get(table.blob.hash).splitlines()[1]) == [
        "170141183460469231731687303715884105727", "nan", "2024-01-02 03:04:05.000006", "2024-01-02 01:04:05+00:00",
        "61",
        [1, 2], {"k": "1.50"}, {"1": "x"}, None, "2 days",
        "1 month", "2024-01-02 03:04:05.000000006",
    ]  # fmt: skip


def test_the_version_and_the_moments_do_not_hang_on_where_it_is_loaded(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("at\n2024-01-02 03:04:05+02\n")
    loaded = set()
    for zone in ("UTC", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        table = load_database(tmp_path / "t.csv", "moments", site).manifest.tables[0]
        assert table.blob is not None
        loaded.add(site.blobs.get(table.blob.hash).splitlines()[1])
    assert loaded == {b'["2024-01-02 01:04:05+00:00"]'}


def test_what_a_killed_loader_left_is_removed_by_the_next_and_what_a_living_one_makes_is_not(
    shop_file: Path, shop: Database, site: Site
) -> None:
    home = shop.path.parent
    for name, minutes in (("dead", 5), ("living", 5), ("new", 0)):
        (home / f".loading-{name}").mkdir()
        lock = home / f".loading-{name}" / "lock"
        lock.touch()
        (lock.parent / "new.duckdb").write_bytes(b"x")
        os.utime(lock, times=(time.time() - 60 * minutes,) * 2)
    with (home / ".loading-living" / "lock").open("rb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        load_database(shop_file, "shop", site)
    assert sorted(path.name for path in home.glob(".loading-*")) == [".loading-living", ".loading-new"]


def test_the_version_is_the_contents(shop_file: Path, shop: Database, site: Site, tmp_path: Path) -> None:
    assert load_database(shop_file, "shop", site) == shop
    with duckdb.connect(str(shop_file)) as connection:
        connection.execute("UPDATE customers SET name = 'Eve' WHERE id = 4")
    changed = load_database(shop_file, "shop", site)
    assert changed.version != shop.version
    assert find_database(site, "shop") == changed
    assert find_database(site, "shop", shop.version) == shop
    other = Site(root=tmp_path / "other", blobs=site.blobs)
    assert load_database(shop_file, "elsewhere", other).version == changed.version


def test_a_table_too_large_to_keep_is_counted_with_its_size(shop_file: Path, site: Site) -> None:
    small = Site(root=site.root, blobs=site.blobs, settings={"table_bytes": 200})
    manifest = load_database(shop_file, "small", small).manifest
    assert manifest.too_large == {"orders": next(t.size for t in manifest.tables if t.name == "orders")}
    assert manifest.too_large["orders"] > 200
    assert set(manifest.blobs) == {"customers", "order notes"}


def test_a_folder_of_files_becomes_a_table_each(tmp_path: Path, site: Site) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "people.csv").write_text("id,name\n1,Ada\n2,Bo\n")
    (folder / "pets.jsonl").write_text('{"id": 1, "kind": "cat"}\n')
    (folder / "towns.json").write_text('[{"town": "Bath"}]')
    duckdb.execute(f"COPY (SELECT 1 AS a) TO '{folder}/ones.parquet'")
    (folder / "README.md").write_text("hello")
    manifest = load_database(folder, "files", site).manifest
    assert {t.name: t.rows for t in manifest.tables} == {"ones": 1, "people": 2, "pets": 1, "towns": 1}
    assert [left.name for left in manifest.left_out] == ["README.md"]


def test_an_sqlite_file_keeps_its_values_and_keys(tmp_path: Path, site: Site) -> None:
    path = tmp_path / "old.sqlite"
    lite = sqlite3.connect(path)
    lite.executescript(
        """
        CREATE TABLE a (id INTEGER PRIMARY KEY, mixed INTEGER, r REAL, t TEXT NOT NULL, empty DECIMAL);
        CREATE TABLE b (x INT, y INT, a_id INT REFERENCES a (id), PRIMARY KEY (y, x));
        CREATE VIEW v AS SELECT t, count(*) AS n FROM a GROUP BY t;
        INSERT INTO a VALUES (1, 5, 1, 'x', NULL), (2, 'five', 2.5, CAST(x'e9' AS TEXT), NULL);
        INSERT INTO b VALUES (1, 2, 1);
        """
    )
    lite.close()
    database = load_database(path, "old", site)
    a, b = database.manifest.tables
    assert [(c.name, c.type) for c in a.columns] == [
        ("id", "BIGINT"), ("mixed", "VARCHAR"), ("r", "DOUBLE"), ("t", "VARCHAR"), ("empty", "DOUBLE"),
    ]  # fmt: skip
    assert (a.primary_key, b.primary_key) == (("id",), ("y", "x"))
    assert b.foreign_keys == (ForeignKey(columns=("a_id",), table="a", refers=("id",)),)
    assert [v.name for v in database.manifest.views] == ["v"]
    assert a.blob is not None
    assert site.blobs.get(a.blob.hash).decode().splitlines()[1:] == ['[1,"5",1.0,"x",null]', '[2,"five",2.5,"é",null]']


def test_a_column_whose_type_shows_late_in_the_file_is_loaded(tmp_path: Path, site: Site) -> None:
    (tmp_path / "late.csv").write_text("a,b\n" + "1,2\n" * 21_000 + "x,3\n")
    (tmp_path / "late.jsonl").write_text('{"a": 1}\n' * 21_000 + '{"a": 2, "b": 3}\n')
    rows = {
        name: load_database(tmp_path / name, "late", site).manifest.tables[0] for name in ("late.csv", "late.jsonl")
    }
    assert [(t.rows, [(c.name, c.type) for c in t.columns]) for t in rows.values()] == [
        (21_001, [("a", "VARCHAR"), ("b", "BIGINT")]),
        (21_001, [("a", "BIGINT"), ("b", "BIGINT")]),
    ]


def test_lines_of_a_csv_that_are_left_out_are_told(tmp_path: Path, site: Site) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 20 + "1,2,3\n")
    manifest = load_database(tmp_path / "t.csv", "t", site).manifest
    assert manifest.tables[0].rows == 1
    assert manifest.left_out == (
        LeftOut(name="t.csv", why="its first 21 lines, which have other columns than the rest"),
    )


def test_a_view_keeps_the_names_that_it_gives_its_columns(tmp_path: Path, site: Site) -> None:
    create = ("CREATE TABLE t (a INTEGER)", "CREATE VIEW v (x, y) AS SELECT a, a + 1 FROM t")
    lite = sqlite3.connect(tmp_path / "views.sqlite")
    with duckdb.connect(str(tmp_path / "views.duckdb")) as duck:
        for statement in create:
            lite.execute(statement)
            duck.execute(statement)
    lite.close()
    for name in ("views.sqlite", "views.duckdb"):
        manifest = load_database(tmp_path / name, "views", site).manifest
        assert [column.name for column in manifest.views[0].columns] == ["x", "y"]


def test_an_sqlite_tables_generated_columns_and_any_name_are_loaded(tmp_path: Path, site: Site) -> None:
    lite = sqlite3.connect(tmp_path / "odd.sqlite")
    lite.executescript(
        """
        CREATE TABLE batch (a INT, twice INT AS (a * 2), thrice INT AS (a * 3) STORED);
        INSERT INTO batch (a) VALUES (1);
        CREATE TABLE main (b INT);
        """
    )
    lite.close()
    batch = load_database(tmp_path / "odd.sqlite", "odd", site).manifest.tables[0]
    assert ([c.name for c in batch.columns], batch.rows) == (["a", "twice", "thrice"], 1)
    assert batch.blob is not None
    assert site.blobs.get(batch.blob.hash).splitlines()[1] == b"[1,2,3]"


def test_nothing_but_tables_and_their_views_is_in_the_loaded_file(shop: Database) -> None:
    with duckdb.connect(str(shop.path), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM duckdb_sequences()").fetchone() == (0,)
        macros = "SELECT count(*) FROM duckdb_functions() WHERE function_name = 'twice'"
        assert connection.execute(macros).fetchone() == (0,)
        views = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
        assert connection.execute(views).fetchall() == [("big_spenders",), ("spending",)]
    assert shop.path.stat().st_mode & 0o222 == 0


def test_bad_sources_and_names_are_task_errors_that_say_what_to_do(tmp_path: Path, site: Site, shop: Database) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    empty = tmp_path / "empty"
    empty.mkdir()
    twins = tmp_path / "twins"
    twins.mkdir()
    (twins / "A.csv").write_text("x\n1\n")
    (twins / "a.json").write_text('{"x": 1}')
    for source, words in (
        (text, "is no DuckDB file"),
        (empty, "no table"),
        (tmp_path / "nowhere", "no database to load"),
        (twins, "two files would become"),
    ):
        with pytest.raises(TaskError, match=words):
            load_database(source, "bad", site)
    with pytest.raises(TaskError, match="cannot name a database"):
        load_database(shop.path, "../up", site)
    assert databases(site) == ("shop",)


def test_an_unknown_database_names_the_known_ones(site: Site, shop: Database) -> None:
    with pytest.raises(TaskError, match=r"unknown database 'shopp'; did you mean 'shop'\?; known: shop"):
        find_database(site, "shopp")
    with pytest.raises(TaskError, match=f"no version '{'0' * 64}'; versions: {shop.version}"):
        find_database(site, "shop", "0" * 64)
    with pytest.raises(TaskError, match="unknown database"):
        find_database(site, "../shop")
