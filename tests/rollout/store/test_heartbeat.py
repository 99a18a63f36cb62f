"""The heartbeat: who is silent is taken back, unless nobody could be heard."""

from typing import Any

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
