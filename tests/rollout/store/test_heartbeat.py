"""The heartbeat: who is silent is taken back, unless nobody could be heard."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from rollout.heartbeat import Heartbeat
from rollout.store import Store

LEASE = 30.0


def test_what_is_lost_is_taken_back_even_where_every_beat_is_late(store: Store, clock: Any, kit: Any) -> None:
    store.create_run(kit.spec, kit.rows(1))
    store.claim("dead", ["rollout"], 1, store.now(), LEASE)
    heart = Heartbeat(store, LEASE, clock)
    queued = []
    for _ in range(4):
        clock.now += 25.0
        heart.beat(())
        queued.append(len(store.rollouts(status="queued").items))
    assert queued == [0, 0, 1, 1]  # the first late beat gives everybody another lease's time, the later ones none


def test_a_silent_worker_is_taken_back_at_the_next_beat(store: Store, clock: Any, kit: Any) -> None:
    store.create_run(kit.spec, kit.rows(1))
    store.claim("dead", ["rollout"], 1, store.now(), LEASE)
    heart = Heartbeat(store, LEASE, clock)
    queued = []
    for _ in range(4):
        clock.now += 10.5
        heart.beat(())
        queued.append(len(store.rollouts(status="queued").items))
    assert queued == [0, 0, 1, 1]


def test_a_clock_that_is_set_while_the_database_is_away_takes_no_rollout_from_a_live_worker(
    store: Store, clock: Any, kit: Any
) -> None:
    """As where one database server takes over from another."""
    run = store.create_run(kit.spec, kit.rows(1)).id
    store.claim("alive", ["rollout"], 1, store.now(), LEASE)
    passed = 0.0
    heart = Heartbeat(store, LEASE, lambda: passed)

    def beat(jump: float = 0.0) -> None:
        nonlocal passed
        passed += 10.0
        clock.now += 10.0 + jump
        heart.beat(())

    beat()
    with away(store), pytest.raises(SQLAlchemyError):
        beat(jump=3600.0)
    beat()
    assert store.accounts(run).running == 1


@contextlib.contextmanager
def away(store: Store) -> Iterator[None]:
    def rename(old: str, new: str) -> None:
        with store.engine.begin() as c:
            c.execute(sa.text(f"alter table {old} rename to {new}"))

    rename("jobs", "jobs_away")
    yield
    rename("jobs_away", "jobs")
