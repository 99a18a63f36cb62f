"""The pump: what is due has a message, never more than a window of them; a lost message is sent again."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from api.carrier.pump import CarrierAway, Pump
from envs.blobs import MemoryBlobs
from envs.task import Reference, Task
from rollout.runs import Run, RunSpec, TaskRow
from rollout.store import Store

ROLLOUTS = "trajc.rollouts"


@dataclass
class Waiting:
    """Messages in memory; a test takes them out as a worker would."""

    messages: dict[str, deque[tuple[str, int]]] = field(default_factory=dict)
    away: bool = False
    leading: bool = True

    def leads(self) -> bool:
        if self.away:
            raise CarrierAway("ConnectionError")
        return self.leading

    def waiting(self, queue: str) -> int:
        return len(self.messages.get(queue, ()))

    def send(self, queue: str, job: str, attempt: int) -> None:
        if self.away:
            raise CarrierAway("ConnectionError")
        self.messages.setdefault(queue, deque()).append((job, attempt))

    def clear(self, queue: str) -> None:
        self.messages.pop(queue, None)

    def fetch(self, queue: str = ROLLOUTS) -> list[tuple[str, int]]:
        return list(self.messages.pop(queue, ()))


@dataclass
class Seconds:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    store: Store
    carrier: Waiting
    seconds: Seconds
    pump: Pump

    def run(self, n: int, name: str = "t", **spec: Any) -> Run:
        rows = [
            TaskRow(Task(id=f"{name}{i}", environment="echo", question=f"{name} {i}"), Reference()) for i in range(n)
        ]
        return self.store.create_run(RunSpec(environment="echo", model="parrot", **spec), rows)

    def jobs(self, run: Run) -> set[tuple[str, int]]:
        return {(r.id, r.attempt + 1) for r in self.store.rollouts(run=run.id, limit=1000).items}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Store.open(tmp_path / "trajc.db", MemoryBlobs()) as store:
        carrier, seconds = Waiting(), Seconds()
        yield Bench(store, carrier, seconds, Pump(store, carrier, window=10, again_seconds=5.0, monotonic=seconds))


def test_each_due_job_gets_one_message(bench: Bench) -> None:
    run = bench.run(4)
    assert bench.pump.turn() == 4
    assert bench.pump.turn() == 0
    assert set(bench.carrier.fetch()) == bench.jobs(run)


def test_no_more_messages_wait_than_the_window_holds(bench: Bench) -> None:
    run = bench.run(25)
    seen: list[tuple[str, int]] = []
    for expected in (10, 10, 5):
        assert bench.pump.turn() == expected
        assert bench.pump.turn() == 0
        fetched = bench.carrier.fetch()
        assert len(fetched) == expected
        for job, attempt in fetched:
            claim = bench.store.claim_one("w", job, attempt, bench.store.now(), 30.0)
            assert claim is not None
        seen += fetched
    assert len(set(seen)) == 25
    assert {job for job, _ in seen} == {job for job, _ in bench.jobs(run)}


def test_what_redis_lost_is_sent_again(bench: Bench) -> None:
    bench.run(3)
    bench.pump.turn()
    lost = bench.carrier.fetch()
    bench.seconds.now = 4.9
    assert bench.pump.turn() == 0, "a worker may just be about to claim it"
    bench.seconds.now = 5.1
    assert bench.pump.turn() == 3
    assert bench.carrier.fetch() == lost


def test_what_still_waits_is_not_sent_again_however_long(bench: Bench) -> None:
    bench.run(3)
    bench.pump.turn()
    bench.seconds.now = 3600.0
    assert bench.pump.turn() == 0


def test_a_retry_is_another_message(bench: Bench) -> None:
    run = bench.run(1)
    bench.pump.turn()
    [(job, attempt)] = bench.carrier.fetch()
    claim = bench.store.claim_one("w", job, attempt, bench.store.now(), 30.0)
    assert claim is not None
    assert bench.pump.turn() == 0
    bench.store.release(claim)
    assert bench.pump.turn() == 1
    assert bench.carrier.fetch() == [(job, 2)]
    assert bench.jobs(run) == {(job, 2)}


def test_a_paused_run_is_not_sent(bench: Bench) -> None:
    run = bench.run(3)
    bench.store.pause(run.id)
    assert bench.pump.turn() == 0
    bench.store.resume(run.id)
    assert bench.pump.turn() == 3


def test_the_more_urgent_run_comes_first(bench: Bench) -> None:
    bench.run(10)
    urgent = bench.run(10, "u", priority=5)
    bench.pump.turn()
    assert set(bench.carrier.fetch()) == bench.jobs(urgent)


def test_a_more_urgent_run_waits_behind_no_message_of_another(bench: Bench) -> None:
    first = bench.run(30)
    bench.pump.turn()
    urgent = bench.run(4, "u", priority=5)
    assert bench.pump.turn() == 10
    messages = bench.carrier.fetch()
    assert (set(messages[:4]), set(messages[4:]) <= bench.jobs(first)) == (bench.jobs(urgent), True)
    for job, attempt in messages[:4]:
        assert bench.store.claim_one("w", job, attempt, bench.store.now(), 30.0) is not None
    assert bench.pump.turn() == 4, "what went out with the others fits in again"


def test_messages_are_taken_back_for_what_is_more_urgent_alone(bench: Bench) -> None:
    bench.run(4)
    bench.pump.turn()
    bench.run(4, "as urgent")
    assert bench.pump.turn() == 4
    assert len(bench.carrier.fetch()) == 8


def test_rollouts_and_compilations_wait_in_queues_of_their_own(bench: Bench) -> None:
    run = bench.run(1)
    compilation = bench.store.enqueue("compile_shard", {"compilation": "c"})
    assert bench.pump.turn() == 2
    assert bench.carrier.fetch("trajc.compile") == [(compilation.id, 1)]
    assert set(bench.carrier.fetch()) == bench.jobs(run)


def test_a_redis_that_is_away_costs_nothing_but_time(bench: Bench) -> None:
    run = bench.run(2)
    bench.carrier.away = True
    assert bench.pump.turn() == 0
    bench.carrier.away = False
    assert bench.pump.turn() == 2
    assert set(bench.carrier.fetch()) == bench.jobs(run)


def test_a_pump_that_does_not_lead_sends_nothing(bench: Bench) -> None:
    bench.run(2)
    bench.carrier.leading = False
    assert bench.pump.turn() == 0
    assert bench.carrier.fetch() == []
