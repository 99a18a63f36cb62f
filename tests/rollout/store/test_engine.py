"""The engine: every claimed job ends in the store, whatever its handler does, and stopping loses nothing."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from envs.blobs import BlobStore
from envs.errors import FailureClass, SandboxError
from envs.score import Submission
from rollout.accounts import Accounts
from rollout.engine import Broken, Done, Engine, Handler, Outcome, Stopped, Timing
from rollout.runs import Claim, JobKind
from rollout.schema import jobs, runs
from rollout.store import Store
from rollout.trajectory import Usage

QUICK = Timing(lease=0.6, poll=0.05, grace=0.1, close=1.0)


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - what is waited for lies in the database
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def working(engine: Engine) -> AsyncIterator[Engine]:
    """The engine at work; stopped at the end of the block."""
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        engine.stop()
        await task


@dataclass
class Plays:
    """A handler that does what the test says; `started` holds what it was given."""

    act: Callable[[Claim], Awaitable[Outcome]]
    started: list[Claim] = field(default_factory=list)
    most: int = 0
    now: int = 0

    async def __call__(self, claim: Claim) -> Outcome:
        self.started.append(claim)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.act(claim)
        finally:
            self.now -= 1


async def hang(_: Claim) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


class Steady:
    """Seconds that pass only while this loop runs: a machine that stands still for longer than these short leases
    costs nobody one."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.now += 0.01

    async def passed(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def engine(
    store: Store,
    handler: Plays,
    n: int = 4,
    timing: Timing = QUICK,
    worker: str = "w1",
    monotonic: Callable[[], float] | None = None,
) -> Engine:
    return Engine(store, {"rollout": handler}, worker, {"rollout": n}, timing, monotonic or store.now)


@pytest.fixture
async def clock() -> AsyncIterator[Steady]:
    steady = Steady()
    ticking = asyncio.create_task(steady.tick())
    yield steady
    ticking.cancel()
    await asyncio.wait([ticking])


async def test_every_rollout_of_a_run_is_done_and_scored(store: Store, kit: Any) -> None:
    async def act(claim: Claim) -> Outcome:
        await asyncio.sleep(0.01)
        return Done(await asyncio.to_thread(kit.trajectory, store, claim), kit.right)

    run = store.create_run(kit.spec, kit.rows(30))
    handler = Plays(act)
    async with working(engine(store, handler)):
        await until(lambda: store.run(run.id).finished is not None)
    assert store.accounts(run.id) == Accounts(submitted=30, succeeded=30)
    assert [c.score for c in store.candidates(runs=[run.id])] == [kit.right] * 30
    assert handler.most == 4


async def test_one_failed_rollout_never_kills_the_batch(store: Store, kit: Any) -> None:
    async def act(claim: Claim) -> Outcome:
        number = handler.started.index(claim)
        if number == 0:
            raise SandboxError("no Docker engine answers")
        if number == 1:
            raise ZeroDivisionError("a bug of ours")
        if number == 2:
            raise asyncio.CancelledError
        if number == 3:
            return Broken("model_error", "401: wrong key", permanent=True)
        return Done()

    run = store.create_run(kit.spec.model_copy(update={"max_attempts": 1}), kit.rows(8))
    handler = Plays(act)
    async with working(engine(store, handler, n=1)):
        await until(lambda: store.run(run.id).finished is not None)
    failed: dict[FailureClass, int] = {"sandbox_error": 1, "environment_error": 2, "model_error": 1}
    assert store.accounts(run.id) == Accounts(submitted=8, succeeded=4, failed=failed)
    assert sorted(r.error for r in store.rollouts(status="failed").items) == [
        "401: wrong key",
        "ZeroDivisionError: a bug of ours",
        "no Docker engine answers",
        "the handler was cancelled from within",
    ]


async def test_what_is_queued_in_process_starts_at_once(store: Store, kit: Any) -> None:
    async def act(_: Claim) -> Outcome:
        return Done()

    handler = Plays(act)
    async with working(engine(store, handler, timing=Timing(lease=3000, poll=3000))):
        await asyncio.sleep(0.2)  # the first look found nothing; the next by itself is an hour away
        run = await asyncio.to_thread(store.create_run, kit.spec, kit.rows(9))
        await until(lambda: store.accounts(run.id).succeeded == 9)


async def test_what_other_processes_queue_starts_though_jobs_of_another_kind_end_all_the_time(
    store: Store, url: str, blobs: BlobStore, kit: Any
) -> None:
    """None of what ends here says that there is more to look for."""

    async def act(_: Claim) -> Outcome:
        await asyncio.sleep(0.02)
        return Done()

    store.order("generation", {f"gen_{i}": {} for i in range(200)})
    calls = Plays(act)
    handlers: dict[JobKind, Handler] = {"rollout": Plays(act), "generation": calls}
    both = Engine(store, handlers, "w1", {"rollout": 1, "generation": 1}, Timing(lease=30, poll=0.3))
    async with working(both):
        await until(lambda: store.job("gen_1").state == "succeeded")
        with Store.open(url, blobs) as other:
            run = await asyncio.to_thread(other.create_run, kit.spec, kit.rows(1))
        await until(lambda: store.accounts(run.id).succeeded == 1)
        assert len(calls.started) < 200, "calls are still waiting"


async def test_a_retry_starts_when_it_is_due(store: Store, kit: Any) -> None:
    async def act(claim: Claim) -> Outcome:
        return Done() if claim.attempt == 2 else Broken("environment_error", "once")

    run = store.create_run(kit.spec, kit.rows(1))
    async with working(engine(store, Plays(act))):
        await until(lambda: store.run(run.id).finished is not None)
    assert store.accounts(run.id) == Accounts(submitted=1, succeeded=1)


async def test_a_lease_is_renewed_while_its_job_runs(store: Store, kit: Any, clock: Steady) -> None:
    release = asyncio.Event()

    async def act(_: Claim) -> Outcome:
        await release.wait()
        return Done()

    run = store.create_run(kit.spec, kit.rows(1))
    handler = Plays(act)
    async with working(engine(store, handler)), working(engine(store, handler, worker="w2")):
        await clock.passed(3 * QUICK.lease)
        release.set()
        await until(lambda: store.run(run.id).finished is not None)
    assert [claim.attempt for claim in handler.started] == [1]


async def test_a_lost_rollout_of_a_run_that_this_release_cannot_read_costs_nobody_a_lease(
    store: Store, kit: Any
) -> None:
    """As one of a later release, in a fleet that is just being brought up to it."""
    run = store.create_run(kit.spec, kit.rows(1))
    handler = Plays(hang)

    def lease_expires() -> float:
        with store.read() as c:
            return float(c.execute(sa.select(jobs.c.lease_expires).where(jobs.c.run_id == run.id)).scalar_one() or 0)

    async with working(engine(store, handler)):
        await until(lambda: bool(handler.started))
        unread = await asyncio.to_thread(store.create_run, kit.spec, kit.rows(1), sealed=False)
        lost = store.rollouts(run=unread.id).items[0].id
        await asyncio.to_thread(store.pause, unread.id)
        with store.write() as c:
            spec = kit.spec.model_dump(mode="json") | {"colour": "red"}
            c.execute(runs.update().where(runs.c.id == unread.id).values(spec=spec))
            values = {"state": "running", "owner": "w0", "attempt": 1, "claimed": 0.0, "heartbeat": 0.0}
            c.execute(jobs.update().where(jobs.c.id == lost).values(values | {"lease_expires": 0.0}))
        await until(lambda: store.rollout(lost).state == "queued")
        later = store.now() + 2 * QUICK.lease
        await until(lambda: lease_expires() > later)
        await asyncio.to_thread(store.reap_expired, later)
        assert [(r.state, r.attempt) for r in store.rollouts(run=run.id).items] == [("running", 1)]


async def test_a_cancelled_rollout_stops_and_keeps_what_it_has(store: Store, kit: Any) -> None:
    under_way = asyncio.Event()

    async def act(claim: Claim) -> Outcome:
        made = await asyncio.to_thread(lambda: kit.trajectory(store, claim, stop=False))
        try:
            under_way.set()
            return await hang(claim)
        except asyncio.CancelledError:
            return Stopped(made)

    run = store.create_run(kit.spec, kit.rows(1))
    handler = Plays(act)
    async with working(engine(store, handler)) as at_work:
        await under_way.wait()
        await asyncio.to_thread(store.cancel, run.id)
        await until(lambda: at_work.running == 0)
    assert store.accounts(run.id) == Accounts(submitted=1, cancelled=1)
    (row,) = store.trajectories(runs=[run.id], partial=True).items
    assert store.rollout(row.rollout or "").trajectory == row.id


async def test_a_rollout_of_a_silent_worker_is_taken_up_by_another(store: Store, kit: Any) -> None:
    async def act(_: Claim) -> Outcome:
        return Done()

    run = store.create_run(kit.spec, kit.rows(2))
    store.claim("dead", ["rollout"], 1, store.now(), 0.3)
    handler = Plays(act)
    async with working(engine(store, handler)):
        await until(lambda: store.run(run.id).finished is not None)
    assert store.accounts(run.id) == Accounts(submitted=2, succeeded=2)
    assert sorted(claim.attempt for claim in handler.started) == [1, 2]


async def test_stopping_lets_jobs_end_and_hands_back_those_that_do_not(store: Store, kit: Any) -> None:
    stopping = asyncio.Event()

    async def act(claim: Claim) -> Outcome:
        if claim.sample:
            return await hang(claim)
        await stopping.wait()
        return Done()

    run = store.create_run(kit.spec.model_copy(update={"samples": 2}), kit.rows(1))
    handler = Plays(act)
    async with working(engine(store, handler, timing=Timing(lease=30, poll=0.05, grace=0.5, close=60))) as at_work:
        await until(lambda: len(handler.started) == 2)
        at_work.stop()
        stopping.set()
    assert store.accounts(run.id) == Accounts(submitted=2, queued=1, succeeded=1)
    (queued,) = store.rollouts(run=run.id, status="queued").items
    assert [(a.attempt, a.outcome) for a in store.rollout(queued.id).attempts] == [(1, "released")]


async def test_a_handler_that_will_not_end_does_not_hold_up_the_stop(store: Store, kit: Any) -> None:
    released = asyncio.Event()

    async def act(_: Claim) -> Outcome:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
        return Done()

    store.create_run(kit.spec, kit.rows(1))
    handler = Plays(act)
    async with asyncio.timeout(60):
        async with working(engine(store, handler, timing=Timing(lease=30, poll=0.05, grace=0.1, close=0.1))):
            await until(lambda: bool(handler.started))
    released.set()


async def test_a_clock_that_is_set_takes_no_rollout_from_a_live_worker(
    url: str, blobs: Any, kit: Any, clock: Steady
) -> None:
    offset = [0.0]
    with Store.open(url, blobs, clock=lambda: clock.now + offset[0]) as store:
        done = asyncio.Event()

        async def act(_: Claim) -> Outcome:
            await done.wait()
            return Done()

        run = store.create_run(kit.spec, kit.rows(3))
        handler = Plays(act)
        workers = [engine(store, handler, worker=name, monotonic=clock) for name in ("w1", "w2")]
        async with working(workers[0]), working(workers[1]):
            for jump in (3600.0, -7200.0):
                await clock.passed(QUICK.lease)
                offset[0] += jump
            await clock.passed(QUICK.lease)
            done.set()
            await until(lambda: store.run(run.id).finished is not None)
        assert [claim.attempt for claim in handler.started] == [1, 1, 1]
        assert store.accounts(run.id) == Accounts(submitted=3, succeeded=3)


async def test_a_database_that_was_away_for_longer_than_a_lease_takes_no_rollout_from_a_live_worker(
    url: str, blobs: Any, kit: Any, clock: Steady
) -> None:
    with contextlib.ExitStack() as stack:
        store, second, third = (stack.enter_context(Store.open(url, blobs, clock=clock)) for _ in range(3))
        done, back = asyncio.Event(), threading.Event()

        async def act(_: Claim) -> Outcome:
            await done.wait()
            return Done()

        def away() -> None:
            with third.write() as c:
                if not third.sqlite:
                    c.execute(sa.text("lock table jobs in exclusive mode"))
                back.wait(60)

        run = store.create_run(kit.spec, kit.rows(4))
        handler = Plays(act)
        async with working(engine(store, handler, n=2)), working(engine(second, handler, n=2, worker="w2")):
            await until(lambda: len(handler.started) == 4)
            waiting = asyncio.create_task(asyncio.to_thread(away))
            await clock.passed(2.5 * QUICK.lease)
            back.set()
            await waiting
            await clock.passed(2 * QUICK.lease)
            done.set()
            await until(lambda: store.run(run.id).finished is not None)
        assert [claim.attempt for claim in handler.started] == [1] * 4
        assert store.accounts(run.id) == Accounts(submitted=4, succeeded=4)


@pytest.mark.parametrize("what", ["text that is none", "a count that no database holds", "a score that is no number"])
async def test_a_result_that_cannot_be_kept_fails_with_words_and_loses_no_worker(
    store: Store, kit: Any, what: str
) -> None:
    def made(claim: Claim) -> Done:
        whole, score = kit.trajectory(store, claim), kit.right
        if what == "text that is none":
            return Done(whole.model_copy(update={"submission": Submission(kind="text", text="\udcff")}), score)
        if what == "a count that no database holds":
            call = whole.calls[0].model_copy(update={"usage": Usage(prompt_tokens=10**30)})
            return Done(whole.model_copy(update={"calls": (call,)}), score)
        return Done(whole, score.model_copy(update={"value": None}))

    async def act(claim: Claim) -> Outcome:
        return await asyncio.to_thread(made, claim)

    run = store.create_run(kit.spec.model_copy(update={"max_attempts": 1}), kit.rows(1))
    async with working(engine(store, Plays(act))):
        await until(lambda: store.run(run.id).finished is not None)
    assert store.accounts(run.id) == Accounts(submitted=1, failed={"environment_error": 1})
    assert "its result could not be kept: " in store.rollouts(run=run.id).items[0].error
