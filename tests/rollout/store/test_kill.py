"""Workers are killed at random, again and again: every rollout succeeds once, and nearly nothing is paid twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from envs.task import Reference, Task
from rollout.accounts import Accounts
from rollout.blobs import FolderBlobs
from rollout.runs import RunSpec, TaskRow
from rollout.schema import jobs
from rollout.store import Store

N = int({"": "1", "full": "6"}.get(wanted := os.environ.get("TRAJC_SOAK_N", ""), wanted))
KILLS, ROLLOUTS, WORKERS, TURNS = 3 * N, 16 * N, 3, 8


@pytest.mark.soak
def test_kill_workers_at_random(url: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    script = Path(__file__).with_name("killable_worker.py")
    started = 0

    workers: dict[str, subprocess.Popen[bytes]] = {}

    def start() -> None:
        nonlocal started
        started += 1
        workers[f"w{started}"] = subprocess.Popen([sys.executable, script, url, tmp_path, f"w{started}"])

    with Store.open(url, FolderBlobs(tmp_path / "blobs", fsync=False)) as store:
        rows = [
            TaskRow(Task(id=f"t{i}", environment="count", question=f"Count {i}"), Reference()) for i in range(ROLLOUTS)
        ]
        run = store.create_run(RunSpec(environment="count", model="paid"), rows).id
        for _ in range(WORKERS):
            start()
        try:
            for _ in range(KILLS):
                if (name := somebody_at_work(store, run, workers, chance)) is None:
                    break
                victim = workers.pop(name)
                victim.kill()  # it was stopped while it held some
                victim.wait()
                (tmp_path / "free").touch()
                start()
            deadline = time.monotonic() + 600
            while store.run(run).finished is None:
                assert time.monotonic() < deadline, store.accounts(run)
                time.sleep(0.1)
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()
        assert store.accounts(run) == Accounts(submitted=ROLLOUTS, succeeded=ROLLOUTS)
        rollouts = [store.rollout(r.id) for r in store.rollouts(run=run, limit=1000).items]
        whole: list[Any] = list(store.candidates(runs=[run]))
        assert sorted(c.trajectory.rollout for c in whole) == [r.id for r in rollouts]
        assert {(len(c.trajectory.calls), c.score and c.score.verdict) for c in whole} == {(TURNS, "right")}
        lost = {r.id: len(r.attempts) - 1 for r in rollouts}
        assert sum(lost.values()) > 0, "no kill hit a rollout"
        paid = Counter(line.split()[0] for line in (tmp_path / "paid").read_text().splitlines())
        assert {id: n for id, n in paid.items() if n > TURNS + lost[id]} == {}


def somebody_at_work(
    store: Store, run: str, workers: Mapping[str, subprocess.Popen[bytes]], chance: random.Random
) -> str | None:
    """One of the workers, stopped while it holds rollouts; None where all is done."""
    at_work = sa.select(jobs.c.owner).distinct().where(jobs.c.run_id == run, jobs.c.state == "running")

    def owners() -> list[str]:
        with store.read() as c:
            return sorted(str(owner) for owner in c.execute(at_work).scalars() if owner in workers)

    while store.run(run).finished is None:
        if held := owners():
            time.sleep(chance.uniform(0, 0.2))
            name = chance.choice(held)
            workers[name].send_signal(signal.SIGSTOP)
            if name in owners():
                return name
            workers[name].send_signal(signal.SIGCONT)
        time.sleep(0.02)
    return None
