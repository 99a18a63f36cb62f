"""The engine: claims jobs, runs them at once up to a bound for each kind, tells the store what came of them.

It knows nothing of what a job does: a `Handler` for each kind does. One engine serves one event loop; several
processes may run one each against the same database. Embedded mode is an engine inside the service. Where messages
carry the work, `take` claims what a message names, and the engine asks the database only when messages fail to come.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from envs.errors import FailureClass, TrajcError
from envs.score import Score
from rollout.database import stays
from rollout.endings import Ending, unkept
from rollout.heartbeat import Heartbeat
from rollout.runs import Applied, Claim, JobKind
from rollout.store import Store
from rollout.together import Together
from rollout.trajectory import Trajectory

log = logging.getLogger(__name__)
T = TypeVar("T")

GATHER = 0.05
"""Seconds between two claims: places that come free meanwhile are filled by one of them."""


@dataclass(frozen=True)
class Done:
    """The job did what it was to do."""

    trajectory: Trajectory | None = None
    score: Score | None = None
    result: dict[str, Any] | None = None
    then: Callable[[], None] | None = None
    """Called, in a thread, once the store has it: to remove what was kept in case it never would."""


@dataclass(frozen=True)
class Broken:
    """Something of ours broke. `partial` keeps what there is."""

    failure: FailureClass
    words: str
    partial: Trajectory | None = None
    permanent: bool = False


@dataclass(frozen=True)
class Stopped:
    """The handler was cancelled and ended in good order."""

    partial: Trajectory | None = None


Outcome = Done | Broken | Stopped
_Told = tuple[Ending, Callable[[], None] | None]


class Handler(Protocol):
    """Does one kind of job. A `TrajcError` that it raises fails the attempt by its class; anything else that it
    raises counts as `environment_error`. When cancelled it may return `Stopped`, to keep what it has."""

    async def __call__(self, claim: Claim) -> Outcome: ...


@dataclass(frozen=True)
class Timing:
    """All in seconds."""

    lease: float = 30.0
    """How long a worker may be silent before its jobs are taken back; it is heard of three times as often."""
    poll: float = 1.0
    """How often to look for jobs that other processes queued, or whose next attempt is due."""
    grace: float = 30.0
    """How long running jobs may go on after `stop` before they are handed back."""
    close: float = 15.0
    """How long handed-back jobs may take to clean up."""


class Engine:
    """`await run()` works until `stop()`; both belong to one event loop, `stop` and `wake` to any thread."""

    def __init__(
        self,
        store: Store,
        handlers: Mapping[JobKind, Handler],
        worker: str,
        concurrency: Mapping[JobKind, int],
        timing: Timing = Timing(),
        monotonic: Callable[[], float] = time.monotonic,
        *,
        carried: bool = False,
    ) -> None:
        """`carried`: messages name what to claim (`take`). The database is asked only while there is room and none
        has come for `Timing.poll` seconds."""
        self.store = store
        self.handlers = handlers
        self.worker = worker
        self.concurrency = concurrency
        self.timing = timing
        self.carried = carried
        self._monotonic = monotonic
        self._heart = Heartbeat(store, timing.lease, monotonic)
        self._running: dict[Claim, asyncio.Task[None]] = {}
        self._gone: dict[Claim, Literal["cancelled", "lost", "stopping", "done"]] = {}
        """Whose work is not to be cut off (any more), and why."""
        self._claiming: Counter[JobKind] = Counter()
        """Places held for claims that are under way."""
        self._waiting = 0
        self._message_at, self._poll_at = monotonic(), 0.0
        self._freed = asyncio.Event()
        self._dry: set[JobKind] = set()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="store")
        self._end_together: Together[_Told, Applied] = Together(self._end_now, self._threads)

    @property
    def running(self) -> int:
        return len(self._running)

    def stop(self) -> None:
        """Claim nothing more; end what runs within `Timing.grace`, or hand it back."""
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """Something may be due: look at once."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._look)

    async def take(self, job: str, attempt: int, kind: JobKind) -> bool:
        """Wait for a place, claim what a message names and work on it to its end.

        False where there was nothing to do: it is claimed, cancelled, paused or done, or this engine stops. Whoever
        sent the message asks again for what is still due then.
        """
        self._waiting += 1
        try:
            while not self._stopping and self._free(kind) <= 0:
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._waiting -= 1
        if self._stopping:
            return False
        self._message_at = self._monotonic()
        self._claiming[kind] += 1
        try:
            claim = await self._call(self._claim_one_now, job, attempt)
            working = None if claim is None else self._start(claim)
        except SQLAlchemyError as e:
            log.error("worker %s cannot claim %s, which will be sent again: %s", self.worker, job, e)
            return False
        finally:
            self._claiming[kind] -= 1
            self._freed.set()
        if working is None:
            return False
        await asyncio.wait([working])
        self._message_at = self._monotonic()
        return True

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        unlisten = self.store.on_queued(self.wake)
        beating = asyncio.create_task(self._beat(), name="heartbeat")
        try:
            while not self._stopping:
                await self._claim()
                await self._rest()
            await self._drain()
        finally:
            unlisten()
            beating.cancel()
            await asyncio.wait([beating])
            for claim in self._running:
                self._end(claim, "stopping")
            if self._running:
                await asyncio.wait(self._running.values(), timeout=self.timing.close)
            await self._end_together.idle(self.timing.close)
            self._threads.shutdown(wait=False)
            self._heart.close()

    def _look(self) -> None:
        self._dry.clear()
        self._changed.set()
        self._freed.set()

    def _free(self, kind: JobKind) -> int:
        busy = sum(claim.kind == kind for claim in self._running)
        return self.concurrency.get(kind, 1) - busy - self._claiming[kind]

    def _start(self, claim: Claim) -> "asyncio.Task[None]":
        self._running[claim] = task = asyncio.create_task(self._work(claim), name=claim.job)
        return task

    async def _rest(self) -> None:
        """Until something changed, or the poll is due, however often jobs end; never less than `GATHER`."""
        time_now = asyncio.get_running_loop().time
        rested = time_now() + GATHER
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._poll_at):
                await self._changed.wait()
        if time_now() >= self._poll_at:
            self._poll_at = time_now() + self.timing.poll
            self._dry.clear()
        await asyncio.sleep(0.0 if self._stopping else max(rested - time_now(), 0.0))
        self._changed.clear()

    async def _claim(self) -> None:
        """Fill the free places of every kind that is not known to be empty."""
        if self.carried and (self._waiting or self._monotonic() - self._message_at < self.timing.poll):
            return
        for kind in self.handlers:
            free = self._free(kind)
            if free <= 0 or kind in self._dry:
                continue
            self._dry.add(kind)  # before the question: what is queued while it is asked makes it wet again
            self._claiming[kind] += free
            try:
                claims = await self._call(self._claim_now, kind, free)
            except SQLAlchemyError as e:
                log.error("worker %s cannot claim, trying again: %s", self.worker, e)
                return
            finally:
                self._claiming[kind] -= free
                self._freed.set()
            if len(claims) == free:
                self._dry.discard(kind)
            for claim in claims:
                self._start(claim)

    def _claim_one_now(self, job: str, attempt: int) -> Claim | None:
        return self.store.claim_one(self.worker, job, attempt, self.store.now(), self.timing.lease)

    def _claim_now(self, kind: JobKind, n: int) -> tuple[Claim, ...]:
        return self.store.claim(self.worker, (kind,), n, self.store.now(), self.timing.lease)

    async def _work(self, claim: Claim) -> None:
        """One job from its start to what the store says of its end. Never raises."""
        try:
            outcome = await self._outcome(claim)
            self._gone.setdefault(claim, "done")  # from here on the store decides what it counts for
            applied = await self._tell(claim, outcome)
            if applied != "applied":
                log.info("%s attempt %d: result not taken, %s", claim.job, claim.attempt, applied)
        except Exception:
            log.exception("%s attempt %d: its end could not be told; its lease will run out", claim.job, claim.attempt)
        finally:
            del self._running[claim]
            self._gone.pop(claim, None)
            self._changed.set()
            self._freed.set()

    async def _outcome(self, claim: Claim) -> Outcome:
        try:
            return await self.handlers[claim.kind](claim)
        except asyncio.CancelledError:
            if claim in self._gone:
                return Stopped()
            return Broken("environment_error", "the handler was cancelled from within")  # no reason of this engine's
        except TrajcError as e:
            return Broken(e.failure, str(e), permanent=e.permanent)
        except Exception as e:
            log.exception("%s attempt %d broke", claim.job, claim.attempt)
            return Broken("environment_error", f"{type(e).__name__}: {e}")

    async def _tell(self, claim: Claim, outcome: Outcome) -> Applied:
        """A database that is away for a moment loses no result."""
        give_up, pause = time.monotonic() + 4 * self.timing.lease, 0.1
        ending = await self._ending(claim, outcome)
        then = outcome.then if isinstance(outcome, Done) and ending.outcome == "succeeded" else None
        refused: Ending | None = None
        while True:
            try:
                return await self._end_together((ending, then))
            except Exception as e:
                if time.monotonic() > give_up or ending is refused:
                    raise
                if stays(e):
                    ending, then = (refused := unkept(claim, e)), None
                    continue
                log.warning("%s: the store does not take its result, trying again: %s", claim.job, e)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def _ending(self, claim: Claim, outcome: Outcome) -> Ending:
        """What to tell the store, with the trajectory kept."""
        match outcome:
            case Done(trajectory, score, result):
                ending = Ending(claim, "succeeded", score=score, result=result)
            case Broken(failure, words, trajectory, permanent):
                ending = Ending(claim, "failed", failure=failure, words=words, permanent=permanent)
            case Stopped(trajectory):
                trajectory = trajectory if self._gone.get(claim) == "cancelled" else None
                ending = Ending(claim, "released")
        try:
            return ending if trajectory is None else replace(ending, kept=await self._call(self.store.keep, trajectory))
        except Exception as e:
            return unkept(claim, e)

    def _end_now(self, asked: Sequence[_Told]) -> list[Applied | Exception]:
        told = self.store.end([ending for ending, _ in asked])
        for (_, then), applied in zip(asked, told, strict=True):
            if then is not None and applied in ("applied", "repeated", "cancelled"):
                then()
        return told

    async def _beat(self) -> None:
        """Renew the leases held here; take back those of workers that are silent."""
        while True:
            await asyncio.sleep(self.timing.lease / 3)
            try:
                gone = await self._heart(tuple(self._running))
            except Exception as e:  # whatever it is: who falls silent loses all that it works on
                log.error("worker %s cannot renew its leases, trying again: %s", self.worker, e)
                continue
            for claim, why in gone.items():
                self._end(claim, why)

    def _end(self, claim: Claim, why: Literal["cancelled", "lost", "stopping"]) -> None:
        task = self._running.get(claim)
        if task is not None and claim not in self._gone:
            self._gone[claim] = why
            task.cancel()

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.timing.grace):
                while self._claiming.total():  # what a message named is claimed just now
                    self._freed.clear()
                    await self._freed.wait()
                if self._running:
                    await asyncio.wait(self._running.values())

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
