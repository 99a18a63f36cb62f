"""The durable queue: claims, leases, and results that only the holder of the current attempt can write.

`(job, attempt)` is the fence. A claim raises the attempt; every later write names it and asks that the job is
still running under it, so that a message delivered twice, a late first attempt or a second worker can neither
duplicate nor overwrite a result.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from envs.errors import FailureClass
from envs.score import Score
from rollout import queue_sql
from rollout.ids import trajectory_id
from rollout.queue_sql import QUEUED, RUNNING
from rollout.requeue import LONGEST_DELAY, delay_after
from rollout.runs import Applied, Claim, JobKind, RunSpec
from rollout.schema import attempts, jobs, runs
from rollout.store_runs import Runs
from rollout.store_trajectories import Trajectories
from rollout.trajectory import Trajectory

Gone = Literal["cancelled", "lost"]

_FREE: dict[str, Any] = {"owner": None, "lease_expires": None}


class Queue(Runs, Trajectories):
    def claim(
        self, worker: str, kinds: Sequence[JobKind], n: int, now: float, lease_seconds: float
    ) -> tuple[Claim, ...]:
        """Up to `n` due jobs of these kinds, by their run's priority, then age. No job is given to two workers."""
        claims: list[Claim] = []
        with self.write() as c:
            for run in self._runs_with_due(c, kinds, now):
                if len(claims) == n:
                    break
                asked = {"p_run": run, "p_kinds": kinds, "p_n": n - len(claims)}
                take = queue_sql.TAKE_OF_NONE if run is None else queue_sql.TAKE_OF_RUN
                claims += self._take(c, take, asked, worker, now, lease_seconds)
            self._emit_running(c, now, claims)
        return tuple(claims)

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

    def finish(
        self,
        claim: Claim,
        trajectory: Trajectory | None = None,
        score: Score | None = None,
        result: dict[str, Any] | None = None,
    ) -> Applied:
        """The job succeeded. Only `applied` changed it; see `Applied` for the others."""
        values = {"state": "succeeded", "result": result}
        return self._end(claim, values, "succeeded", None, "", trajectory, score)

    def fail(
        self,
        claim: Claim,
        failure: FailureClass,
        words: str,
        partial: Trajectory | None = None,
        *,
        permanent: bool = False,
    ) -> Applied:
        """The attempt failed: the job is queued again where `delay_after` says so, else the failure stands."""
        return self._end(claim, {}, "failed", failure, words, partial, None, permanent)

    def release(self, claim: Claim, partial: Trajectory | None = None) -> Applied:
        """Hand the job back, unharmed, for another worker to claim at once."""
        values = {"state": "queued", "next_attempt_at": 0.0}
        return self._end(claim, values, "released", None, "", partial, None)

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
            for row in expired:
                words = f"worker {row.owner} has not been heard of since {row.heartbeat:.0f} (lease ran out)"
                self._settle(c, row, now, {}, "failed", "worker_lost", words, None, False)
            self.emit(c, now, *(("rollout.lost", r.run_id, r.id, {"attempt": r.attempt}) for r in expired))
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
            for row in c.execute(statement, asked | lease)
        ]
        return sorted(claims, key=lambda claim: claim.job)

    def _emit_running(self, c: sa.Connection, now: float, claims: Sequence[Claim]) -> None:
        self.emit(c, now, *((f"{x.kind}.running", x.run, x.job, {"attempt": x.attempt}) for x in claims))

    def _end(
        self,
        claim: Claim,
        values: dict[str, Any],
        outcome: str,
        failure: FailureClass | None,
        words: str,
        trajectory: Trajectory | None,
        score: Score | None,
        permanent: bool = False,
    ) -> Applied:
        blob = None if trajectory is None else self._keep(trajectory)
        with self.write() as c:
            now = self.now()
            row = c.execute(queue_sql.JOB_LOCKED, {"p_job": claim.job}).one_or_none()
            stands = _standing(row, claim)
            if stands == "repeated" or stands == "superseded" or row is None:
                return stands
            kept = None
            if trajectory is not None and blob is not None and row.trajectory_id != trajectory.id:
                kept = trajectory.id
                partial = outcome != "succeeded" or stands == "cancelled"
                self._insert_trajectory(c, trajectory, blob, partial, now, row.reference_hash)
                if score is not None and not partial:
                    self._append_score(c, kept, score, now)
            if stands == "cancelled":
                self._record_attempt(c, row, claim.worker, now, "cancelled", None, words, kept)
                if kept is not None:
                    c.execute(queue_sql.END_JOB, {"p_job": claim.job, "trajectory_id": kept})
                return stands
            state = self._settle(c, row, now, values, outcome, failure, words, kept, permanent)
            data = {"attempt": claim.attempt, "failure": failure, "trajectory": kept, "state": state}
            self.emit(c, now, (f"{claim.kind}.{outcome}", claim.run, claim.job, data))
        if state == "queued":
            self.queued()
        elif claim.run is not None:
            self.finish_runs(claim.run)
        return "applied"

    def _settle(
        self,
        c: sa.Connection,
        row: sa.Row[Any],
        now: float,
        values: dict[str, Any],
        outcome: str,
        failure: FailureClass | None,
        words: str,
        kept: str | None,
        permanent: bool,
    ) -> str:
        """End the running attempt of `row`: its history, and where the job stands now. Returns that state."""
        values = _FREE | values
        words = words.replace("\x00", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps no NUL in a text
        if failure is not None:
            values |= self._after_failure(c, row, now, failure, words, permanent)
        if values["state"] != "queued":
            values["finished"] = now
        if kept is not None:
            values["trajectory_id"] = kept
        c.execute(queue_sql.END_JOB, values | {"p_job": row.id})
        self._record_attempt(c, row, row.owner, now, outcome, failure, words, kept)
        return str(values["state"])

    def _after_failure(
        self, c: sa.Connection, row: sa.Row[Any], now: float, failure: FailureClass, words: str, permanent: bool
    ) -> dict[str, Any]:
        alike = sa.select(sa.func.count()).where(
            attempts.c.job_id == row.id, attempts.c.failure == failure, attempts.c.attempt > row.attempts_forgiven
        )
        spec = sa.select(runs.c.spec).where(runs.c.id == row.run_id)
        found = c.execute(spec).scalar_one_or_none()
        bound = RunSpec.model_validate(found).max_attempts if found else RunSpec.model_fields["max_attempts"].default
        delay = delay_after(failure, c.execute(alike).scalar_one() + 1, bound, permanent=permanent)
        if delay is None:
            return {"state": "failed", "failure": failure, "error": words}
        return {"state": "queued", "next_attempt_at": now + delay if delay else 0.0}

    def _record_attempt(
        self,
        c: sa.Connection,
        row: sa.Row[Any],
        worker: str,
        now: float,
        outcome: str,
        failure: FailureClass | None,
        words: str,
        kept: str | None,
    ) -> None:
        values = {
            "job_id": row.id,
            "attempt": row.attempt,
            "worker": worker,
            "started": row.claimed,
            "ended": now,
            "outcome": outcome,
            "failure": failure,
            "error": words,
            "trajectory_id": kept,
        }
        self.insert_new(c, attempts, [values])


def _standing(row: sa.Row[Any] | None, claim: Claim) -> Applied:
    if row is None or row.attempt != claim.attempt:
        return "superseded"
    if row.state == "running":
        return "applied" if row.owner == claim.worker else "superseded"
    if row.state == "cancelled":
        return "repeated" if row.trajectory_id == trajectory_id(claim.job, claim.attempt) else "cancelled"
    if row.state == "queued":
        return "superseded"  # taken back from a worker that was taken for lost, or handed back
    return "repeated"
