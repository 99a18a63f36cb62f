"""The TPC-H and TPC-DS queries pass the guard and run, on empty tables of their schemas.

They are read from sqlglot's source archive at test time, as its own tests keep them.
"""

import ast
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.sql.engine import Ask
from envs.sql.load import load_database
from envs.sql.pool import Pool
from envs.sql.reply import Failed

pytestmark = pytest.mark.needs("network")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sqlglot")
    wanted = f"sqlglot=={version('sqlglot')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder)]
    subprocess.run([*command, wanted], check=True, capture_output=True)
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    (found,) = folder.glob("sqlglot-*/tests")
    return found


def schemas(tests: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The dictionaries TPCH_SCHEMA and TPCDS_SCHEMA: table -> column -> type."""
    found = {}
    for node in ast.parse((tests / "helpers.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("TPCH_SCHEMA", "TPCDS_SCHEMA"):
                found[name] = ast.literal_eval(node.value)
    return found


def queries(tests: Path, suite: str) -> list[str]:
    """The first of each pair of statements: the query as the benchmark words it."""
    text = (tests / "fixtures" / "optimizer" / suite / f"{suite}.sql").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith(("--", "#"))]
    return [statement.strip() for statement in "\n".join(lines).split(";")][0:-1:2]


def duck_type(column: str, kind: str) -> str:
    """There dates are kept as text, which DuckDB does not compare with dates."""
    return "DATE" if column.endswith("_date") else kind.replace("UINT", "UINTEGER")


@pytest.mark.parametrize(("suite", "schema", "count"), [("tpc-h", "TPCH_SCHEMA", 22), ("tpc-ds", "TPCDS_SCHEMA", 99)])
def test_every_query_passes(archive: Path, tmp_path: Path, suite: str, schema: str, count: int) -> None:
    source = tmp_path / "source.duckdb"
    with duckdb.connect(str(source)) as connection:
        for table, columns in schemas(archive)[schema].items():
            described = ", ".join(f'"{name}" {duck_type(name, kind)}' for name, kind in columns.items())
            connection.execute(f'CREATE TABLE "{table}" ({described})')
    database = load_database(source, suite, Site(root=tmp_path, blobs=MemoryBlobs()))
    pool = Pool(size=1)
    failed: list[Any] = []
    try:
        found = queries(archive, suite)
        for number, query in enumerate(found, 1):
            reply, _ = pool.run(database.path, Ask(query))
            if isinstance(reply, Failed):
                failed.append((number, reply))
    finally:
        pool.close()
    assert len(found) == count
    assert [f for f in failed if f[1].kind == "refused"] == []
    print(f"{suite}: {count - len(failed)} of {count} run", failed)
    assert len(failed) <= 0.05 * count, failed
