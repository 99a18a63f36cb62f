"""Results that take long to write: none is cut off, and none costs a lease."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from envs.blobs import Blob
from rollout.accounts import Accounts
from rollout.blobs import FolderBlobs
from rollout.engine import Done, Outcome, Timing
from rollout.runs import Claim
from rollout.store import Store
from tests.rollout.store.test_engine import Plays, Steady, clock, engine, until, working  # noqa: F401


class SlowBlobs(FolderBlobs):
    """Takes its time for each blob, and takes none before it is `free` to."""

    def __init__(self, root: Path, seconds: float) -> None:
        super().__init__(root, fsync=False)
        self.seconds = seconds
        self.puts = 0
        self.free = threading.Event()
        self.free.set()

    def put(self, data: bytes, media_type: str = "text/plain", encoding: str | None = "utf-8") -> Blob:
        self.puts += 1
        self.free.wait(60)
        time.sleep(self.seconds)
        return super().put(data, media_type, encoding)


@pytest.mark.parametrize("ends", ["stopped", "cancelled"])
async def test_a_result_that_is_being_written_is_not_cut_off(
    url: str,
    tmp_path: Path,
    kit: Any,
    clock: Steady,  # noqa: F811
    ends: str,
) -> None:
    blobs = SlowBlobs(tmp_path / "slow", 0.5)
    with Store.open(url, blobs, clock=clock) as store:

        async def act(claim: Claim) -> Outcome:
            return Done(await asyncio.to_thread(kit.trajectory, store, claim), kit.right)

        run = store.create_run(kit.spec, kit.rows(1))
        if ends == "cancelled":
            blobs.free.clear()  # until it is
        timing = Timing(lease=30 if ends == "stopped" else 0.3, poll=0.05, grace=0.1, close=60)
        async with working(engine(store, Plays(act), timing=timing)) as at_work:
            await until(lambda: blobs.puts > 0)
            if ends == "cancelled":
                await asyncio.to_thread(store.cancel, run.id)
                blobs.free.set()
                await until(lambda: at_work.running == 0)
        kept = store.trajectories(runs=[run.id], partial=None).items
        if ends == "cancelled":
            assert store.accounts(run.id) == Accounts(submitted=1, cancelled=1)
            assert [row.partial for row in kept] == [True]
        else:
            assert store.accounts(run.id) == Accounts(submitted=1, succeeded=1)
            assert [row.partial for row in kept] == [False]


async def test_many_results_to_write_keep_no_lease_from_being_renewed(
    url: str,
    tmp_path: Path,
    kit: Any,
    clock: Steady,  # noqa: F811
) -> None:
    blobs = SlowBlobs(tmp_path / "slow", 0.3)
    with Store.open(url, blobs, clock=clock) as store, Store.open(url, blobs, clock=clock) as other:

        async def act(claim: Claim) -> Outcome:
            return Done(await asyncio.to_thread(kit.trajectory, store, claim), kit.right)

        run = store.create_run(kit.spec, kit.rows(16))
        handler = Plays(act)
        async with working(engine(store, handler, n=16)), working(engine(other, handler, n=0, worker="w2")):
            await until(lambda: store.run(run.id).finished is not None)
        assert store.accounts(run.id) == Accounts(submitted=16, succeeded=16)
        assert [claim.attempt for claim in handler.started] == [1] * 16
