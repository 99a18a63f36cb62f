"""The durable queue: claims and leases; how attempts end is told by `endings`.

`(job, attempt)` is the fence. A claim raises the attempt; every later write names it and asks that the job is
still running under it, so that a message delivered twice, a late first attempt or a second worker can neither
duplicate nor overwrite a result.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from rollout import queue_sql
from rollout.database import EVENT_LOCK
from rollout.endings import Endings
from rollout.queue_sql import QUEUED, RUNNING
from rollout.requeue import LONGEST_DELAY
from rollout.runs import Claim, JobKind
from rollout.schema import jobs

Gone = Literal["cancelled", "lost"]


class Queue(Endings):
    def claim(
        self, worker: str, kinds: Sequence[JobKind], n: int, now: float, lease_seconds: float
    ) -> tuple[Claim, ...]:
        """Up to `n` due jobs of these kinds, by their run's priority, then age. No job is given to two workers."""
        claims: list[Claim] = []
        if not self.sqlite:
            claims, more = self._claim_at_once(worker, kinds, n, now, lease_seconds)
            if len(claims) == n or not more:
                return tuple(claims)
        first = len(claims)
        with self.write() as c:
            for run in self._runs_with_due(c, kinds, now):
                if len(claims) == n:
                    break
                asked = {"p_run": run, "p_kinds": kinds, "p_n": n - len(claims)}
                take = queue_sql.TAKE_OF_NONE if run is None else queue_sql.TAKE_OF_RUN
                claims += self._take(c, take, asked, worker, now, lease_seconds)
            self._emit_running(c, now, claims[first:])
        return tuple(claims)

    def _claim_at_once(
        self, worker: str, kinds: Sequence[JobKind], n: int, now: float, lease_seconds: float
    ) -> tuple[list[Claim], bool]:
        """What the first run gives, and whether another may give more."""
        asked = {"p_kinds": kinds, "p_n": n, "p_worker": worker, "p_now": now, "p_expires": now + lease_seconds}
        with self.statement() as c:
            rows = c.execute(queue_sql.TAKE_AT_ONCE, asked | {"p_lock": EVENT_LOCK}).all()
        claims = _claims(worker, (row for row in rows if row.id is not None))
        return claims, rows[0].tried is not None or set(kinds) != {"rollout"}

    def claim_one(self, worker: str, job: str, attempt: int, now: float, lease_seconds: float) -> Claim | None:
        """The attempt that a message names; None where it is no longer the job's next, or must not start."""
        asked = {"p_job": job, "p_attempt": attempt}
        with self.write() as c:
            claims = self._take(c, queue_sql.TAKE_ONE, asked, worker, now, lease_seconds)
            self._emit_running(c, now, claims)
        return claims[0] if claims else None

    def due(self, kinds: Sequence[JobKind], n: int, now: float) -> tuple[tuple[str, int], ...]:
        """Up to `n` of (job, number of its next attempt) that a claim would give now, without claiming them."""
        found: list[tuple[str, int]] = []
        with self.read() as c:
            for run in self._runs_with_due(c, kinds, now):
                asked = {"p_run": run, "p_kinds": kinds, "p_now": now, "p_n": n - len(found)}
                query = queue_sql.DUE_OF_NONE if run is None else queue_sql.DUE_OF_RUN
                found += [(id, attempt) for id, attempt in c.execute(query, asked)]
        return tuple(found)

    def urgency(self, kinds: Sequence[JobKind], now: float) -> int | None:
        """The priority of the run that a claim would take from first; None where no run has anything due."""
        with self.read() as c:
            return c.execute(queue_sql.URGENCY, {"p_kinds": kinds, "p_now": now}).scalar_one_or_none()

    def renew(self, claims: Iterable[Claim], now: float, lease_seconds: float) -> dict[Claim, Gone]:
        """Extend these leases. Returns the claims that are no longer held, and why: their work should stop."""
        held = {claim.job: claim for claim in claims}
        if not held:
            return {}
        of = jobs.c
        with self.write() as c:
            locked = sa.select(of.id).where(of.id.in_(held), RUNNING).order_by(of.id).with_for_update()
            beat = {"heartbeat": now, "lease_expires": now + lease_seconds}
            kept = c.execute(
                jobs.update()
                .where(of.id.in_(locked), of.owner.in_({claim.worker for claim in held.values()}))
                .values(beat)
                .returning(of.id, of.attempt)
            ).all()
            still = {(row.id, row.attempt) for row in kept}
            gone = {claim for claim in held.values() if (claim.job, claim.attempt) not in still}
            if not gone:
                return {}
            states = c.execute(
                sa.select(of.id, of.attempt, of.state).where(of.id.in_({claim.job for claim in gone}))
            ).all()
        cancelled = {(row.id, row.attempt) for row in states if row.state == "cancelled"}
        return {claim: "cancelled" if (claim.job, claim.attempt) in cancelled else "lost" for claim in gone}

    def note(self, claim: Claim, result: dict[str, Any]) -> bool:
        """Keep what there is of a running job's result, for a later attempt to go on from (`Store.job`). False where
        the claim is no longer held."""
        of = jobs.c
        held = (of.id == claim.job) & (of.attempt == claim.attempt) & (of.owner == claim.worker) & RUNNING
        with self.write() as c:
            return c.execute(jobs.update().where(held).values(result=result)).rowcount == 1

    def reap_expired(self, now: float) -> tuple[str, ...]:
        """Take back the jobs whose lease ran out: `worker_lost`, tried again within a bound of its own.

        Returns their ids. Also notes runs that have ended while nobody looked.
        """
        of = jobs.c
        with self.write() as c:
            expired = c.execute(
                jobs.select()
                .where(RUNNING, of.lease_expires < now)
                .order_by(of.id)
                .limit(500)
                .with_for_update(skip_locked=True)
            ).all()
            self._lose(c, expired, now)
        if expired:
            self.queued()
        self.finish_runs()
        return tuple(row.id for row in expired)

    def settle_clock(self, now: float, lease_seconds: float) -> None:
        """After the clock was set: every lease starts anew, and no next attempt lies beyond the longest delay."""
        with self.write() as c:
            c.execute(jobs.update().where(RUNNING).values(lease_expires=now + lease_seconds))
            far = jobs.c.next_attempt_at > now + LONGEST_DELAY
            c.execute(jobs.update().where(QUEUED, far).values(next_attempt_at=now))

    def _runs_with_due(self, c: sa.Connection, kinds: Sequence[JobKind], now: float) -> Sequence[str | None]:
        """In the order they are served. None stands for jobs of no run; every rollout has one."""
        asked = {"p_kinds": kinds, "p_now": now}
        found: list[str | None] = [*c.execute(queue_sql.RUNS_WITH_DUE, asked).scalars()]
        return found if set(kinds) == {"rollout"} else [*found, None]

    def _take(
        self,
        c: sa.Connection,
        statement: Any,
        asked: dict[str, Any],
        worker: str,
        now: float,
        lease_seconds: float,
    ) -> list[Claim]:
        lease = {"p_worker": worker, "p_now": now, "p_expires": now + lease_seconds}
        return _claims(worker, c.execute(statement, asked | lease))

    def _emit_running(self, c: sa.Connection, now: float, claims: Sequence[Claim]) -> None:
        self.emit(c, now, *((f"{x.kind}.running", x.run, x.job, {"attempt": x.attempt}) for x in claims))


def _claims(worker: str, rows: Iterable[sa.Row[Any]]) -> list[Claim]:
    claims = [
        Claim(
            job=row.id,
            kind=row.kind,
            attempt=row.attempt,
            worker=worker,
            run=row.run_id,
            sample=row.sample,
            group=row.sample_group,
            payload=row.payload or {},
        )
        for row in rows
    ]
    return sorted(claims, key=lambda claim: claim.job)
