"""What a hostile statement gets: nothing of the host, nothing hidden, and the next query is answered.

The statements go through the whole stack, as an agent's do: guard, locked connection, confined worker.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.sql.guard import Guard
from envs.sql.refusal import Refused
from envs.sql.session import SqlSession
from envs.sql.tools import Answer, RunSql
from envs.tool import ToolResult
from tests.standstill import Standstill

HOST_MARKS = ("root:x:0:", "daemon:x:")
OUT_OF_TIME = "the query did not end within 1.5 seconds"
SECONDS = 1.5 + 40
"""A statement's limit, and what a new worker and a busy machine may add."""

EVERY = 1 if os.environ.get("TRAJC_SOAK_N") == "full" else 6
"""Of the statements that use up their time, how many are run."""


def foreign_attacks() -> Path | None:
    named = os.environ.get("TRAJC_ATTACKS")
    if named:
        return Path(named)
    realdata = os.environ.get("TRAJC_REALDATA")
    beside = Path(realdata).parent / "attacks_sql.txt" if realdata else None
    return beside if beside and beside.is_file() else None


async def assault(session: SqlSession, trap: Any, attacks: list[str]) -> Counter[str]:
    """Run each attack and the next honest query; what it gave, by outcome."""
    before = trap.files()
    outcomes: Counter[str] = Counter()
    for line in attacks:
        attack = trap.attack(line)
        began = time.monotonic()
        result = await session.call("run_sql", RunSql.model_construct(sql=attack))
        assert time.monotonic() - began < SECONDS, line
        assert leaks(result, session, trap) == [], line
        outcomes["refused" if result.is_error else "answered"] += 1
        honest = Answer(sql="SELECT count(*), count(name), min(name) FROM customers")
        while True:
            with Standstill() as stood:
                following = await session.call("answer", honest)
            if not (OUT_OF_TIME in following.text and stood.longest > 0.5):
                break
        assert following.submission is not None, (line, following.text)
        assert following.submission.rows == ((10_000, 10_000, "name 0"),), line
    assert trap.files() == before
    return outcomes


def leaks(result: ToolResult, session: SqlSession, trap: Any) -> list[str]:
    """Marks of hidden things in anything that the result holds."""
    blob = session._blobs.get(result.raw.hash).decode() if result.raw else ""
    told = result.text + blob
    return [mark for mark in (trap.gold, trap.bait, *HOST_MARKS) if mark in told]


async def test_no_attack_of_ours_leaks_writes_or_stops_the_worker(
    trapped: SqlSession, trap: Any, own_attacks: list[str]
) -> None:
    assert len(set(own_attacks)) >= 340
    outcomes = await assault(trapped, trap, own_attacks)
    assert outcomes["refused"] >= 0.93 * len(own_attacks)


async def without_a_caller(session: SqlSession, trap: Any, attacks: list[str]) -> Counter[str]:
    """As `assault`, with a server in reach that nobody may call."""
    callers: list[Any] = []
    server = await asyncio.start_server(lambda _, writer: callers.append(writer), "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    outcomes = await assault(session, trap, [line.replace("{NET}", address) for line in attacks])
    server.close()
    assert callers == []
    return outcomes


@pytest.mark.soak
async def test_no_attack_by_what_the_engine_can_do_leaks_writes_calls_out_or_stops_the_worker(
    trapped: SqlSession, trap: Any, engine_attacks: Callable[[int], list[str]]
) -> None:
    attacks = engine_attacks(EVERY)
    outcomes = await without_a_caller(trapped, trap, attacks)
    assert len(set(attacks)) >= (260 if EVERY == 1 else 215)
    assert outcomes["refused"] >= 0.9 * len(attacks)


@pytest.mark.needs("realdata")
async def test_no_attack_from_the_foreign_list_leaks_writes_or_stops_the_worker(trapped: SqlSession, trap: Any) -> None:
    source = foreign_attacks()
    if source is None:
        pytest.skip("needs realdata: no attacks_sql.txt there, and TRAJC_ATTACKS names none")
    attacks = source.read_text().split("\n")
    outcomes = await assault(trapped, trap, attacks)
    assert outcomes["refused"] >= 200


async def test_the_checks_can_see_a_leak(trapped: SqlSession, trap: Any) -> None:
    result = await trapped.call("run_sql", RunSql(sql=f"SELECT '{trap.gold}' AS gold"))
    assert leaks(result, trapped, trap) == [trap.gold]


def test_the_guard_alone_refuses_all_that_names_hidden_things(trap: Any, own_attacks: list[str]) -> None:
    guard = Guard(trap.database.manifest)
    passed = []
    for line in own_attacks:
        try:
            guard.check(trap.attack(line))
        except Refused:
            continue
        passed.append(line)
    suspicious = [
        line
        for line in passed
        if any(mark in line for mark in ("{DATA}", "{TMP}", "v_file", "m_file", "m_add", "COPY"))
    ]
    assert suspicious == []
    # What passes while it speaks of the hidden table only speaks of it: as text, or of a catalog made of the manifest.
    harmless = ("table_name", "WHERE name = 'hidden_answers'", "SELECT 'a\\")
    assert [p for p in passed if "hidden_answers" in p and not any(h in p for h in harmless)] == []
