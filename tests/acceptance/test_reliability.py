"""The reliability show: everything is killed at random while rollouts run, and nothing is lost or paid twice.

TRAJC_SOAK_N=full is the whole of it; by default it is small.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from envs.errors import FailureClass
from rollout.schema import jobs
from rollout.store import Store
from tests.acceptance.fleet import (
    Fleet,
    Process,
    completions,
    counting_tasks,
    fleet,
    fresh_database,
    inline,
    living,
    until,
)
from tests.rollout.store.conftest import postgres_server  # noqa: F401 - a fixture

FULL = os.environ.get("TRAJC_SOAK_N") == "full"
TURNS = 10
FAULTS = ("--fault", "server_error=0.04", "--fault", "rate_limited=0.03", "--fault", "reset=0.03")
"""One call in ten."""
Paid = dict[str, dict[str, int]]
"""Model calls that each endpoint answered, by task."""


@dataclass(frozen=True)
class Size:
    rollouts: int
    kills: int
    every: tuple[float, float]
    latency: float
    concurrency: int


WORKERS = Size(300, 15, (8.0, 12.0), 1.5, 8) if FULL else Size(30, 3, (3.0, 5.0), 1.2, 4)
EMBEDDED = Size(60, 6, (8.0, 12.0), 1.2, 8) if FULL else Size(16, 2, (4.0, 6.0), 0.8, 8)
FLUSHES, STOP, ENDPOINT_DIES = ((4, 10), 7, 6) if FULL else ((1, 3), 2, 1)
"""After which kills Redis is flushed, is stopped for ten seconds, and one of the two endpoints dies."""


@pytest.mark.soak
@pytest.mark.needs("redis", "postgresql")
@pytest.mark.timeout(1800)
def test_workers_redis_and_an_endpoint_are_killed_and_every_rollout_is_done_once(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    size = WORKERS
    server: str = request.getfixturevalue("postgres_server")
    with fresh_database(server) as database, fleet(tmp_path, database, lease_seconds="6", poll_seconds="5") as it:
        redis, serve = it.redis(), it.serve()
        tasks, recording = counting_tasks(tmp_path, size.rollouts, TURNS)
        words = (tasks, "--recording", recording, "--latency", str(size.latency), *FAULTS)
        (first, stays), (second, dies) = it.oracle(*words, name="first"), it.oracle(*words, name="second")
        workers = [it.worker(concurrency=size.concurrency, name=f"worker-{i}") for i in range(3)]
        for process in (redis, serve, first, second, *workers):
            process.up()
        began = time.monotonic()
        paid: Paid = {}
        show = Show(size, random.Random(11), lambda: queue(it, tasks, stays, dies))
        for kill in show.until_done(it, workers):
            if kill in FLUSHES:
                it.client.flushall()
                show.happened["redis flushed"] += 1
            if kill == STOP:
                redis.kill()
                time.sleep(10.0)
                redis.start()
                redis.up()
                show.happened["redis stopped"] += 1
            if kill == ENDPOINT_DIES:
                paid[dies] = completions(dies)
                second.kill()
                show.happened["endpoint died"] += 1
        took = time.monotonic() - began
        for worker in workers:
            worker.up()  # a SIGTERM while it still starts is the interpreter's to obey
        assert [worker.end() for worker in workers] == [0, 0, 0]
        paid[stays] = completions(stays)
        with it.store() as store:
            lost = check_ended_well(it, store, show.runs, size)
            twice = check_paid(store, show.runs, paid, size, died=dies)
    assert show.happened - Counter(kills=show.happened["kills"]) == Counter(
        {"redis flushed": 2, "redis stopped": 1, "endpoint died": 1}
    )
    tell("workers", size, show, took, paid, lost, twice)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_service_itself_is_killed_and_every_rollout_is_done_once(tmp_path: Path) -> None:
    size = EMBEDDED
    with fleet(tmp_path, redis=False, lease_seconds="6", concurrency=str(size.concurrency)) as it:
        serve = it.serve()
        tasks, recording = counting_tasks(tmp_path, size.rollouts, TURNS)
        oracle, base_url = it.oracle(tasks, "--recording", recording, "--latency", str(size.latency), *FAULTS)
        serve.up()
        oracle.up()
        began = time.monotonic()
        show = Show(size, random.Random(12), lambda: queue(it, tasks, base_url))
        for _ in show.until_done(it, [serve]):
            serve.up()
        took = time.monotonic() - began
        assert serve.end() == 0
        paid = {base_url: completions(base_url)}
        with it.store() as store:
            lost = check_ended_well(it, store, show.runs, size)
            twice = check_paid(store, show.runs, paid, size)
    tell("embedded", size, show, took, paid, lost, twice)


class Show:
    """Kills one of some processes again and again, and starts it anew."""

    def __init__(self, size: Size, chance: random.Random, submit: Callable[[], str]) -> None:
        self.size = size
        self.chance = chance
        self.submit = submit
        self.runs: list[str] = []
        self.happened: Counter[str] = Counter()

    def until_done(self, it: Fleet, victims: list[Process]) -> Any:
        """Yields the number of each kill, after it, until a run is done. How far that comes beside one kill is the
        machine's affair: a run that is done before enough was killed is followed by another."""
        deadline = time.monotonic() + 1500
        self.runs.append(self.submit())
        with it.store() as store:
            while True:
                pause = time.monotonic() + self.chance.uniform(*self.size.every)
                while time.monotonic() < pause:
                    if store.run(self.runs[-1]).finished is not None:
                        if self.happened["kills"] >= self.size.kills:
                            return
                        self.runs.append(self.submit())
                    assert time.monotonic() < deadline, [store.accounts(run) for run in self.runs]
                    time.sleep(0.2)
                if not FULL and self.happened["kills"] == self.size.kills:
                    continue
                victim = self.chance.choice(victims)
                victim.kill()
                victim.start()
                self.happened["kills"] += 1
                yield self.happened["kills"]


def queue(it: Fleet, tasks: Path, *base_urls: str) -> str:
    limits = {"max_turns": 3 * TURNS, "max_seconds": 3600}
    wanted = {"environment": "sql", "model": "oracle", "base_urls": base_urls, "limits": limits, "max_attempts": 20}
    return str(it.post("/v1/runs", {**wanted, "tasks": inline(tasks)})["id"])


def check_ended_well(it: Fleet, store: Store, runs: list[str], size: Size) -> Counter[FailureClass]:
    """Returns the attempts that were lost, by class."""
    for run in runs:
        accounts = store.accounts(run).as_dict()
        assert accounts | {"failed": {}} == {
            "submitted": size.rollouts,
            "queued": 0,
            "running": 0,
            "succeeded": size.rollouts,
            "failed": {},
            "cancelled": 0,
            "closes": True,
        }, accounts
    with store.read() as c:
        held = c.execute(sa.select(jobs.c.id).where(jobs.c.owner.is_not(None) | jobs.c.lease_expires.is_not(None)))
        assert held.all() == [], "leases are left"
    rollouts = every_rollout(store, runs)
    finished = [
        t for run in runs for t in store.trajectories(runs=[run], partial=None, limit=1000).items if not t.partial
    ]
    assert sorted(str(t.rollout) for t in finished) == sorted(r.id for r in rollouts), "one finished trajectory each"
    assert {t.turns for t in finished} == {TURNS}
    orphans = {orphan for process in it.started for orphan in process.orphans}
    assert orphans, "what was killed had nothing below it"
    until(lambda: not living(orphans), "processes are left")
    return Counter(a.failure for r in rollouts for a in r.attempts if a.failure is not None)


def check_paid(store: Store, runs: list[str], paid: Paid, size: Size, died: str = "") -> int:
    """No model call is paid twice but for the turn in flight when an attempt was lost. Returns the calls paid twice.

    What the endpoint that died still answered between its being asked and its death is known to nobody.
    """
    total: Counter[str] = Counter()
    for counts in paid.values():
        total.update(counts)
    assert len(total) == size.rollouts
    allowed: Counter[str] = Counter()
    for r in every_rollout(store, runs):
        allowed[r.task_id] += TURNS + sum(a.outcome != "succeeded" for a in r.attempts)
    assert {task: n for task, n in total.items() if n > allowed[task]} == {}
    made = Counter(
        (call.endpoint, c.trajectory.task.id) for c in store.candidates(runs=runs) for call in c.trajectory.calls
    )
    assert {one: n for one, n in made.items() if one[0] != died and paid[one[0]].get(one[1], 0) < n} == {}
    return total.total() - TURNS * size.rollouts * len(runs)


def every_rollout(store: Store, runs: list[str]) -> list[Any]:
    return [store.rollout(r.id) for run in runs for r in store.rollouts(run=run, limit=1000).items]


def tell(name: str, size: Size, show: Show, took: float, paid: Paid, lost: Counter[FailureClass], twice: int) -> None:
    """For who runs the whole: what happened, as JSON on stdout."""
    print(
        json.dumps(
            {
                "show": name,
                "rollouts": size.rollouts * len(show.runs),
                "turns": TURNS * size.rollouts * len(show.runs),
                "seconds": round(took, 1),
                **show.happened,
                "attempts lost": lost,
                "model calls paid": sum(sum(counts.values()) for counts in paid.values()),
                "paid twice": twice,
            }
        )
    )
