"""Layer three by itself: workers that can be killed, that are replaced, and that outlive nobody."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envs.errors import EnvironmentFailure, SandboxError
from envs.sql.engine import Ask
from envs.sql.pool import Pool
from envs.sql.reply import Failed, Rows
from tests.standstill import Standstill

COUNT = Ask("SELECT count(*) FROM customers")
UNSTOPPABLE = Ask("SELECT list_sort(range(60000000))[1]")
LONG = Ask("SELECT count(*) FROM orders a, orders b, orders c")


@pytest.fixture
def own_pool() -> Iterator[Pool]:
    found = Pool(size=2, seconds=60)
    yield found
    found.close()


SECONDS = 1.0
OUT_OF_TIME = Failed("timeout", "the query did not end within 1 seconds and was stopped")


@pytest.fixture
def short_pool() -> Iterator[Pool]:
    found = Pool(size=2, seconds=SECONDS)
    yield found
    found.close()


def rows(pool: Pool, path: Path, ask: Ask = COUNT) -> list[list[Any]]:
    reply, _ = pool.run(path, ask)
    assert isinstance(reply, Rows), reply
    return reply.rows


def workers(pool: Pool) -> list[int]:
    return [worker.pid for worker in pool._idle]


def test_a_worker_is_used_again(own_pool: Pool, trap: Any) -> None:
    assert rows(own_pool, trap.database.path) == [[10_000]]
    first = workers(own_pool)
    assert rows(own_pool, trap.database.path) == [[10_000]]
    assert workers(own_pool) == first


@pytest.mark.parametrize("ask", [LONG, UNSTOPPABLE])
def test_a_statement_past_its_time_is_stopped_and_the_next_is_answered(short_pool: Pool, trap: Any, ask: Ask) -> None:
    """By itself the one goes on for hours, and the other has rows to give."""
    reply, took = short_pool.run(trap.database.path, ask)
    assert isinstance(reply, Failed)
    assert reply.kind in ("timeout", "error", "memory")
    assert took < 60
    while True:
        with Standstill() as stood:
            following = short_pool.run(trap.database.path, COUNT)[0]
        if not (following == OUT_OF_TIME and stood.longest > SECONDS / 2):
            break
    assert isinstance(following, Rows), following
    assert following.rows == [[10_000]]


def test_a_fault_of_the_engines_own_ends_its_worker_and_the_next_statement_is_answered(
    own_pool: Pool, trap: Any
) -> None:
    """DuckDB refuses every statement after an internal error, whoever asks."""
    rows(own_pool, trap.database.path)
    first = workers(own_pool)
    reply, _ = own_pool.run(trap.database.path, Ask("SELECT reservoir_quantile(id, 0.5, 1000000000) FROM orders"))
    assert reply == Failed("crashed", "the query hit a fault of the engine's own; ask in another way")
    assert rows(own_pool, trap.database.path) == [[10_000]]
    assert workers(own_pool) != first


def test_a_killed_worker_is_a_failed_statement_and_the_next_is_answered(own_pool: Pool, trap: Any) -> None:
    rows(own_pool, trap.database.path)
    (pid,) = workers(own_pool)

    def kill_at_work() -> None:
        while cpu(pid) < idle + 0.1:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    idle, killer = cpu(pid), threading.Thread(target=kill_at_work)
    killer.start()
    reply, _ = own_pool.run(trap.database.path, LONG)
    killer.join()
    assert reply == Failed("crashed", "the query used more memory than it may, or crashed the engine")
    assert rows(own_pool, trap.database.path) == [[10_000]]


def test_workers_without_their_parent_are_replaced_and_the_statement_still_answered(own_pool: Pool, trap: Any) -> None:
    rows(own_pool, trap.database.path)
    assert own_pool._zygote is not None
    os.kill(own_pool._zygote.process.pid, signal.SIGKILL)
    own_pool._zygote.process.wait()
    assert rows(own_pool, trap.database.path) == [[10_000]]


def test_more_threads_than_slots_all_get_their_answer(own_pool: Pool, trap: Any) -> None:
    answers: list[list[list[Any]]] = []
    threads = [threading.Thread(target=lambda: answers.append(rows(own_pool, trap.database.path))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[[10_000]]] * 12
    assert len(workers(own_pool)) <= 2


async def test_a_cancelled_call_frees_its_slot(trap: Any) -> None:
    pool = Pool(size=1, seconds=60)
    try:
        call = asyncio.create_task(pool.submit(trap.database.path, LONG))
        await asyncio.sleep(1)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        reply, _ = await asyncio.wait_for(pool.submit(trap.database.path, COUNT), 50)
        assert isinstance(reply, Rows)
    finally:
        pool.close()


def test_one_statement_leaves_nothing_for_the_next(own_pool: Pool, trap: Any) -> None:
    path = trap.database.path
    for statement in ("SET VARIABLE x = 1", "CREATE TEMP TABLE mine AS SELECT 1", "PREPARE q AS SELECT 1"):
        assert isinstance(own_pool.run(path, Ask(statement))[0], Failed)
    pivot = Ask("PIVOT customers ON country USING count(*)")
    assert isinstance(own_pool.run(path, pivot)[0], Rows)
    assert rows(own_pool, path, Ask("SELECT random() > 2, (SELECT count(*) FROM customers)")) == [[False, 10_000]]
    again = Ask("SELECT random(), uuid(), (SELECT sum(id) FROM orders USING SAMPLE 10%)")
    assert rows(own_pool, path, again) == rows(own_pool, path, again)


def test_a_missing_database_is_our_failure_and_names_it(own_pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match=r"gone\.duckdb could not be opened"):
        own_pool.run(tmp_path / "gone.duckdb", COUNT)


def test_a_closed_pool_says_so(trap: Any) -> None:
    pool = Pool()
    pool.close()
    pool.close()
    with pytest.raises(SandboxError, match="closed"):
        pool.run(trap.database.path, COUNT)


def test_a_worker_is_confined_and_has_nothing_of_our_environment(
    own_pool: Pool, trap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "credential-9914")
    rows(own_pool, trap.database.path)
    (pid,) = workers(own_pool)
    process = Path(f"/proc/{pid}")
    assert b"credential-9914" not in (process / "environ").read_bytes()
    limits = (process / "limits").read_text()
    assert [line.split()[-3] for line in limits.splitlines() if line.startswith(("Max file size", "Max core"))] == [
        "0",
        "0",
    ]
    assert os.getsid(pid) == pid


OWNER = """
import sys, time
from pathlib import Path
from envs.sql.engine import Ask
from envs.sql.pool import Pool
pool = Pool(size=1)
pool.run(Path(sys.argv[1]), Ask("SELECT 1"))
print(pool._zygote.process.pid, pool._idle[0].pid, flush=True)
pool.run(Path(sys.argv[1]), Ask("SELECT list_sort(range(60000000))[1]"))
time.sleep(60)
"""


def test_workers_end_when_their_owner_is_killed(trap: Any) -> None:
    command = [sys.executable, "-c", OWNER, str(trap.database.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert all(alive(pid) for pid in pids)
        owner.kill()
    deadline = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if alive(pid)] == []


def cpu(pid: int) -> float:
    """Seconds that the process has worked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
