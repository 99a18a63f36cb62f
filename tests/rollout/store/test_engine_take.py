"""What messages name is claimed while the engine ends, or not at all: nothing stays claimed that nobody works on."""

import asyncio
import threading
from pathlib import Path
from typing import Any

from rollout.engine import Done, Engine, Outcome, Timing
from rollout.runs import Claim
from rollout.store import Store


async def act(claim: Claim) -> Outcome:  # noqa: ARG001
    return Done()


async def test_a_claim_that_is_under_way_when_the_engine_stops_is_worked_on_or_handed_back(
    tmp_path: Path, blobs: Any, kit: Any
) -> None:
    with Store.open(tmp_path / "trajc.db", blobs) as store, Store.open(tmp_path / "trajc.db", blobs) as other:
        run = store.create_run(kit.spec, kit.rows(1))
        ((job, attempt),) = store.due(["rollout"], 1, store.now())
        locked, free = threading.Event(), threading.Event()

        def lock() -> None:
            with other.write():
                locked.set()
                free.wait(60)

        timing = Timing(lease=600, poll=30, grace=60, close=60)
        engine = Engine(store, {"rollout": act}, "w", {"rollout": 1}, timing, carried=True)
        working = asyncio.create_task(engine.run())
        locking = asyncio.create_task(asyncio.to_thread(lock))
        await asyncio.to_thread(locked.wait)
        taking = asyncio.create_task(engine.take(job, attempt, "rollout"))
        await asyncio.sleep(0.1)
        engine.stop()
        await asyncio.sleep(0.2)
        free.set()
        await working
        await asyncio.wait([taking, locking])
        assert store.accounts(run.id).running == 0
