"""Layer two by itself: the locked connection, with no guard before it, reads and writes no file."""

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from envs.sql.connection import open_locked


@pytest.fixture
def connection(trap: Any) -> Iterator[Any]:
    found = open_locked(trap.database.path, seconds=6)
    yield found
    found.close()


def short(attacks: list[str]) -> list[str]:
    """Those that name files, settings, extensions or writes: what this layer must stop."""
    marks = ("{DATA}", "{TMP}", "SET ", "RESET", "INSTALL", "LOAD", "ATTACH", "CREATE", "DROP", "ALTER", "INSERT",
             "UPDATE", "DELETE", "COPY", "EXPORT", "PRAGMA", "CHECKPOINT")  # fmt: skip
    return [a for a in attacks if any(mark in a for mark in marks) and len(a) < 300]


def test_no_file_is_read_or_written(connection: Any, trap: Any, own_attacks: list[str]) -> None:
    before = trap.files()
    told: list[tuple[str, str]] = []
    for line in short(own_attacks):
        try:
            told.append((line, str(connection.cursor().execute(trap.attack(line)).fetchmany(100))))
        except duckdb.Error as e:
            told.append((line, str(e)))
    assert [line for line, text in told if trap.bait in text] == []
    assert trap.files() == before
    assert connection.cursor().execute("SELECT count(*) FROM customers").fetchall() == [(10_000,)]


@pytest.mark.parametrize(
    "statement",
    [
        "SET memory_limit='100GB'",
        "SET enable_external_access=true",
        "SET disabled_filesystems=''",
        "RESET lock_configuration",
        "SET threads=4",
        "SET default_collation='nocase'",
    ],
)
def test_settings_stay_as_they_are(connection: Any, statement: str) -> None:
    with pytest.raises(duckdb.Error):
        connection.cursor().execute(statement)


def test_a_long_query_is_interrupted(connection: Any) -> None:
    with pytest.raises(duckdb.InterruptException):
        connection.cursor().execute("SELECT count(*) FROM orders a, orders b, orders c").fetchall()


def test_without_the_locks_the_same_statement_reads_the_file(trap: Any) -> None:
    with duckdb.connect(str(trap.database.path), read_only=True) as open_connection:
        found = open_connection.execute(f"FROM read_text('{trap.data}/secret.txt')").fetchall()
    assert trap.bait in str(found)


def test_mysql_manners_fold_case_and_sqlite_manners_divide_integers(trap: Any) -> None:
    probe = "SELECT 'a' = 'A', 7 / 2"
    results = {}
    for dialect in (None, "mysql", "sqlite"):
        found = open_locked(trap.database.path, dialect=dialect)
        results[dialect] = found.cursor().execute(probe).fetchall()
        found.close()
    assert results == {None: [(False, 3.5)], "mysql": [(True, 3.5)], "sqlite": [(False, 3)]}
