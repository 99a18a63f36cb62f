"""What the queue costs: claiming with a million rows in the table, and one streamed append of 100,000 tasks.

Claims are measured against one hand-written statement on the same table through the bare driver, against the bound of
5 ms, and against what a durable commit of one row takes at the same moments: disk and machine allow no less. The append
is measured against the bound of 60 s, with the growth of this process's memory.
"""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.run import row
from envs.blobs import MemoryBlobs
from envs.task import Reference, Task
from rollout.runs import RunSpec, TaskRow
from rollout.store import Store

ROWS = 1_000_000
CLAIMS = 1_000
TASKS = 100_000
CLAIM_BOUND_MS = 5.0
APPEND_BOUND_S = 60.0
MEMORY_BOUND_MB = 64.0

BARE_CLAIM = """
update jobs set state = 'running', attempt = attempt + 1, owner = 'bare', claimed = 0, heartbeat = 0,
                lease_expires = 1e12
where id = (select id from jobs where state = 'queued' and run_id = %s and kind = 'rollout' and next_attempt_at <= 1e12
            order by priority desc, next_attempt_at, id limit 1 for update skip locked)
returning id, attempt
"""


def run() -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "trajc.db", MemoryBlobs()) as store:
        rows += append(store, "sqlite")
    with server() as url:
        if url is None:
            return rows
        with Store.open(url, MemoryBlobs()) as store:
            rows += append(store, "postgresql")
            rows += claims(store, url)
    return rows


def append(store: Store, database: str) -> list[dict[str, Any]]:
    """100,000 tasks of about 600 bytes, as one stream."""
    run = store.create_run(RunSpec(environment="search", model="m"), sealed=False)
    store.append_tasks(run.id, tasks(2_000, "warm"))
    memory = peak_mb()
    began = time.perf_counter()
    assert store.append_tasks(run.id, tasks(TASKS, "t")) == TASKS
    seconds = time.perf_counter() - began
    grown = peak_mb() - memory
    assert store.accounts(run.id).closes
    return [
        row(f"queue/append_100k_{database}", seconds, APPEND_BOUND_S, "s", "<=1.0"),
        row(f"queue/append_100k_memory_{database}", grown, MEMORY_BOUND_MB, "MB", "<=1.0"),
    ]


def claims(store: Store, url: str) -> list[dict[str, Any]]:
    """Single claims, one after another, out of a table of a million rows in every state."""
    fill(store)
    live = store.runs(limit=1).items[0].id
    ours, commits = [], []
    with psycopg.connect(url, autocommit=True) as bare:
        bare.execute("create table one (n int)")
        bare.execute("insert into one values (0)")
        for _ in range(CLAIMS):  # in turn, so that a slow moment of the machine meets both
            ours.append(timed(lambda: store.claim("bench", ["rollout"], 1, store.now(), 60)))
            commits.append(timed(lambda: bare.execute("update one set n = n + 1 returning n").fetchone()))
        other = [timed(lambda: bare.execute(BARE_CLAIM.encode(), [live]).fetchone()) for _ in range(CLAIMS)]
    batches = [timed(lambda: store.claim("bench", ["rollout"], 64, store.now(), 60)) / 64 for _ in range(50)]
    return [
        row("queue/claim_p99_1m_rows", p99(ours), CLAIM_BOUND_MS, "ms", "<=1.0"),
        row("queue/claim_p99_vs_bare_commit", p99(ours), p99(commits), "ms", "<=3.0"),
        row("queue/claim_median_vs_bare_sql", median(ours), median(other), "ms", "<=6.0"),
        row("queue/claim_64_at_once_each_vs_bare_sql", median(batches), median(other), "ms", "<=1.0"),
    ]


def fill(store: Store) -> None:
    """A million rows: most ended, a paused run of many, and one with 100,000 that wait."""
    shares = {"ended": ROWS * 7 // 10, "paused": ROWS * 2 // 10, "live": ROWS // 10}
    for name, count in shares.items():
        run = store.create_run(RunSpec(environment="search", model="m", name=name), sealed=False)
        store.append_tasks(run.id, tasks(1, name))
        (one,) = store.rollouts(run=run.id).items
        state = "succeeded" if name == "ended" else "queued"
        with store.write() as c:
            c.execute(
                sa.text(
                    "insert into jobs (id, kind, run_id, task_hash, sample, sample_group, state, priority, attempt,"
                    " attempts_forgiven, next_attempt_at, error, created)"
                    " select id || '_' || n, kind, run_id, task_hash, n, sample_group, :state, 0, 0, 0, 0, '', created"
                    " from jobs, generate_series(1, :count) n where id = :one"
                ),
                {"state": state, "count": count, "one": one.id},
            )
            c.execute(
                sa.text("update runs set submitted = submitted + :n where id = :run"), {"n": count, "run": run.id}
            )
        if name == "paused":
            store.pause(run.id)
    for run in store.runs().items:
        if run.name == "":
            store.cancel(run.id)
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        c.execute(sa.text("analyze"))


def tasks(n: int, name: str) -> Iterator[TaskRow]:
    for i in range(n):
        task = Task(id=f"{name}-{i}", environment="search", question=f"Question {i}? " + "context " * 40)
        yield TaskRow(task, Reference(data={"answers": [f"answer {i}"], "gold_docs": [f"d{i}", f"d{i + 1}"]}))


def timed(action: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    assert action()
    return (time.perf_counter() - began) * 1000


def p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def server() -> Iterator[str | None]:
    """Its URL, with default durability (fsync on); None where PostgreSQL is not installed."""
    if url := os.environ.get("TRAJC_TEST_POSTGRES"):
        yield url
        return
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not installed:
        yield None
        return
    programs, user = installed[-1], "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="trajc-bench-pg-"))
    if user:
        shutil.chown(folder, user)
    data = str(folder / "data")
    initdb = [str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "trajc", "-E", "UTF8", "--locale=C"]
    subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(programs / "postgres"), "-D", data, "-p", str(port), "-k", str(folder)]
    running = subprocess.Popen(command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"postgresql://trajc@127.0.0.1:{port}/postgres"
    try:
        for _ in range(200):
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
                break
            time.sleep(0.05)
        yield url
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)
        shutil.rmtree(folder)
