"""A small shop as a loaded database, and a hostile twin: the same tables beside hidden ones and bait files."""

import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.sql.catalog import Database
from envs.sql.load import columns_of, load_database
from envs.sql.manifest import Manifest, Table
from envs.sql.pool import Pool
from envs.sql.session import SqlSession
from envs.task import Task

GOLD = "hidden-gold-7261"
BAIT = "bait-file-5518"

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, country VARCHAR);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id), amount DECIMAL(8, 2), d DATE
);
CREATE TABLE "order notes" (order_id INTEGER, "the note" VARCHAR);
INSERT INTO customers VALUES (1, 'Ada', 'UK'), (2, 'Bo', 'US'), (3, 'Cy', 'us'), (4, 'Di', NULL);
INSERT INTO orders VALUES
    (1, 1, 10.50, DATE '2024-01-05'), (2, 1, 20.00, DATE '2024-02-01'), (3, 2, 5.25, DATE '2024-02-02'),
    (4, 3, 99.99, DATE '2024-03-09');
INSERT INTO "order notes" VALUES (1, E'first\\nsecond'), (3, NULL);
CREATE VIEW spending AS SELECT name, sum(amount) AS total FROM customers JOIN orders ON customers.id = customer_id
    GROUP BY name;
CREATE VIEW big_spenders AS SELECT * FROM spending WHERE total > 20;
CREATE VIEW elsewhere AS SELECT * FROM read_text('/etc/hostname');
CREATE MACRO twice(x) AS x * 2;
CREATE SEQUENCE counter;
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(root=tmp_path / "home", blobs=MemoryBlobs(), settings={"query_seconds": 60})


@pytest.fixture
def shop_file(tmp_path: Path) -> Path:
    return write_shop(tmp_path)


@pytest.fixture(scope="module")
def shared_shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Database]:
    """For tests that change nothing: the shop, loaded once for a whole file of them."""
    home = tmp_path_factory.mktemp("shared")
    site = Site(root=home, blobs=MemoryBlobs(), settings={"query_seconds": 60})
    return site, load_database(write_shop(home), "shop", site)


def write_shop(folder: Path) -> Path:
    path = folder / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(SHOP)
    return path


@pytest.fixture
def shop(shop_file: Path, site: Site) -> Database:
    return load_database(shop_file, "shop", site)


@dataclass(frozen=True)
class Trap:
    """A database whose file holds more than its manifest tells, in a folder of bait."""

    database: Database
    data: Path
    scratch: Path
    gold: str = GOLD
    bait: str = BAIT

    def attack(self, line: str) -> str:
        return line.replace("{DATA}", str(self.data)).replace("{TMP}", str(self.scratch))

    def files(self) -> dict[str, bytes]:
        """Every file that an attack might change or add."""
        return {str(p): p.read_bytes() for root in (self.data, self.scratch) for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Trap:
    data, scratch = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("scratch")
    (data / "secret.txt").write_text(BAIT)
    (data / "secret.csv").write_text(f"a,b\n1,{BAIT}\n")
    (data / "secret.json").write_text(f'{{"a": "{BAIT}"}}\n')
    with duckdb.connect(str(data / "other.duckdb")) as other:
        other.execute(f"CREATE TABLE t AS SELECT '{BAIT}' AS a")
        other.execute(f"COPY t TO '{data}/secret.parquet'")
    path = data / "main.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            f"""
            CREATE TABLE customers AS SELECT i AS id, 'name ' || i AS name, 'country ' || i % 30 AS country
                FROM range(10000) t(i);
            CREATE TABLE orders AS SELECT i AS id, i % 10000 AS customer_id, i / 7.0 AS amount,
                DATE '2024-01-01' + CAST(i % 365 AS INTEGER) AS d FROM range(200000) t(i);
            CREATE TABLE hidden_answers AS SELECT i AS id, '{GOLD}' AS gold FROM range(50) t(i);
            CREATE VIEW v_file AS SELECT * FROM read_text('{data}/secret.txt');
            CREATE MACRO m_file(p) AS TABLE SELECT * FROM read_text(p);
            CREATE MACRO m_add(a, b) AS a + b;
            CREATE SEQUENCE seq1;
            """
        )
        tables = tuple(
            Table(name=name, columns=columns_of(connection, name), rows=rows, size=1)
            for name, rows in (("customers", 10_000), ("orders", 200_000))
        )
    manifest = Manifest(database="main_db", version="0" * 64, tables=tables)
    path.with_suffix(".json").write_text(manifest.model_dump_json())
    return Trap(Database(path=path, manifest=manifest), data, scratch)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    found = Pool(size=2, seconds=1.5)
    yield found
    found.close()


@pytest.fixture
def trapped(trap: Trap, pool: Pool) -> SqlSession:
    """A session on the hostile twin."""
    task = Task(id="t", environment="sql", question="?", world={"database": "main_db"})
    return SqlSession(task, trap.database, pool, MemoryBlobs())


@pytest.fixture(scope="session")
def own_attacks() -> list[str]:
    """`attack_list.py` beside this file."""
    listed: list[str] = _from("attack_list.py", "own_attacks")()
    return listed


@pytest.fixture(scope="session")
def engine_attacks() -> Callable[[int], list[str]]:
    """`attack_list_engine.py` beside this file."""
    listed: Callable[[int], list[str]] = _from("attack_list_engine.py", "engine_attacks")
    return listed


def _from(file: str, name: str) -> Any:
    return runpy.run_path(str(Path(__file__).with_name(file)))[name]
