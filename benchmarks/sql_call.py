"""What one SQL tool call costs beside the bare DuckDB query: guard, lineage, process boundary and text included.

Both sides run the same statements, each statement once on each side in turn, every one with a constant of its own
so that nothing is answered from memory. The bare side is one open read-only connection with the same settings.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.sql.connection import open_locked
from envs.sql.environment import SqlEnvironment
from envs.sql.load import load_database
from envs.sql.tools import RunSql
from envs.task import Task

MADE = """
CREATE TABLE customers AS SELECT i AS id, 'name ' || i AS name, 'country ' || i % 30 AS country FROM range(10000) t(i);
CREATE TABLE orders AS SELECT i AS id, i * 7919 % 10000 AS customer_id, (i * 31 % 9973) / 7.0 AS amount,
    DATE '2024-01-01' + CAST(i % 365 AS INTEGER) AS d FROM range(2000000) t(i);
"""
QUERIES: dict[str, tuple[int, Callable[[int], str]]] = {
    "point": (200, lambda i: f"SELECT id, name, country FROM customers WHERE id = {i * 37 % 10000}"),
    "join": (
        200,
        lambda i: (
            "SELECT c.country, count(*) AS n FROM customers c JOIN customers o ON c.id = o.id"
            f" WHERE c.id > {i} GROUP BY c.country ORDER BY n DESC, c.country LIMIT 10"
        ),
    ),
    "aggregate": (40, lambda i: f"SELECT d, sum(amount) FROM orders WHERE amount > {i} GROUP BY d ORDER BY d LIMIT 20"),
    "big join": (
        25,
        lambda i: (
            "SELECT c.country, sum(o.amount) AS total, count(*) AS n FROM orders o JOIN customers c"
            f" ON o.customer_id = c.id WHERE o.id % 97 > {i} GROUP BY c.country ORDER BY total DESC"
        ),
    ),
}
SLOW_MS = 5.0


def run() -> list[dict[str, Any]]:
    """A row for each query: medians in milliseconds; from 5 ms up the ratio counts, below it the milliseconds over."""
    return asyncio.run(_measure())


async def _measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "made.duckdb"
        with duckdb.connect(str(source)) as connection:
            connection.execute(MADE)
        site = Site(root=Path(folder), blobs=MemoryBlobs(), settings={"table_bytes": 1 << 20})
        database = load_database(source, "made", site)
        environment = SqlEnvironment(site)
        session = await environment.start(Task(id="b", environment="sql", question="?", world={"database": "made"}), {})
        bare = open_locked(database.path)
        rows = []
        try:
            for name, (count, query) in QUERIES.items():
                ours: list[float] = []
                other: list[float] = []
                for i in range(count + 3):
                    sql = query(i)
                    began = time.perf_counter()
                    bare.cursor().execute(sql).fetchall()
                    middle = time.perf_counter()
                    result = await session.call("run_sql", RunSql(sql=sql))
                    ended = time.perf_counter()
                    if result.is_error:
                        raise RuntimeError(result.text)
                    if i >= 3:
                        other.append((middle - began) * 1000)
                        ours.append((ended - middle) * 1000)
                rows.append(_row(name, statistics.median(ours), statistics.median(other)))
        finally:
            bare.close()
            await environment.close()
        return rows


def _row(name: str, ours: float, other: float) -> dict[str, Any]:
    ratio = ours / other
    if other >= SLOW_MS:
        target, met = "<=1.5", ratio <= 1.5
    else:
        target, met = f"<={(other + 2) / other:.2f}", ours - other <= 2
    return {
        "name": f"sql/call over bare query: {name}",
        "ours": round(ours, 3),
        "other": round(other, 3),
        "unit": "ms, median",
        "ratio": round(ratio, 3),
        "target": target,
        "met": met,
    }


if __name__ == "__main__":
    for row in run():
        print(row)
