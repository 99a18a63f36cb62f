"""How attempts end: what came of them is written by the holder of the current attempt alone.

Many that end at about the same time are written in one transaction, which costs each of them a small part of what
one of its own would.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from envs.errors import FailureClass
from envs.score import Score
from rollout import queue_sql
from rollout.database import keepable
from rollout.ids import trajectory_id
from rollout.requeue import delay_after
from rollout.runs import Applied, Claim, RunSpec
from rollout.schema import attempts, runs, scores, trajectories
from rollout.store_runs import Runs
from rollout.store_trajectories import Kept, Trajectories
from rollout.trajectory import Trajectory

log = logging.getLogger(__name__)
WORDS = 1000
"""Characters of an error that a failure repeats."""

_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
"""The database does not answer: no one of many endings is to blame."""


@dataclass(frozen=True)
class Ending:
    """What came of a claim. A score and a result belong to a success, `failure` and `permanent` to a failure."""

    claim: Claim
    outcome: Literal["succeeded", "failed", "released"]
    kept: Kept | None = None
    score: Score | None = None
    result: dict[str, Any] | None = None
    failure: FailureClass | None = None
    words: str = ""
    permanent: bool = False


def unkept(claim: Claim, error: Exception) -> Ending:
    """In place of an ending that cannot be stored: a failure with words, and not a worker that is lost with it again
    and again."""
    log.error("%s attempt %d: its result could not be kept", claim.job, claim.attempt, exc_info=error)
    cause = getattr(error, "orig", None) or error  # the rest of its words would be the statement and its rows
    words = f"its result could not be kept: {type(cause).__name__}: {cause}"
    return Ending(claim, "failed", failure="environment_error", words=words[:WORDS])


@dataclass
class _Rows:
    """What a transaction is to write."""

    trajectories: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str | None, str | None, dict[str, Any]]] = field(default_factory=list)


class Endings(Runs, Trajectories):
    def finish(
        self,
        claim: Claim,
        trajectory: Trajectory | None = None,
        score: Score | None = None,
        result: dict[str, Any] | None = None,
    ) -> Applied:
        """The job succeeded. Only `applied` changed it; see `Applied` for the others."""
        return self._end_one(Ending(claim, "succeeded", self._kept(trajectory), score, result))

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
        kept = self._kept(partial)
        return self._end_one(Ending(claim, "failed", kept, failure=failure, words=words, permanent=permanent))

    def release(self, claim: Claim, partial: Trajectory | None = None) -> Applied:
        """Hand the job back, unharmed, for another worker to claim at once."""
        return self._end_one(Ending(claim, "released", self._kept(partial)))

    def end(self, endings: Sequence[Ending]) -> list[Applied | Exception]:
        """What became of each, in their order; the error in place of what could not be written. One that
        cannot be written costs the others nothing."""
        told: dict[int, Applied | Exception] = {}
        waiting = dict(enumerate(endings))
        while waiting:
            first = {ending.claim.job: i for i, ending in reversed(waiting.items())}
            some = {i: waiting.pop(i) for i in sorted(first.values())}
            try:
                told |= zip(some, self._end(tuple(some.values())), strict=True)
            except Exception as e:
                if len(some) == 1 or isinstance(e, _AWAY):
                    told |= dict.fromkeys(some, e)
                else:
                    told |= {i: self.end([ending])[0] for i, ending in some.items()}
        return [told[i] for i in range(len(endings))]

    def _lose(self, c: sa.Connection, expired: Sequence[sa.Row[Any]], now: float) -> None:
        """End these running attempts, whose workers have fallen silent."""
        rows = _Rows()
        for row in expired:
            last = datetime.fromtimestamp(row.heartbeat, UTC)
            words = f"worker {row.owner} has not been heard of since {last:%Y-%m-%d %H:%M:%S} UTC (lease ran out)"
            claim = Claim(row.id, row.kind, row.attempt, row.owner, row.run_id, row.sample, row.sample_group, {})
            self._settle(c, rows, row, now, Ending(claim, "failed", failure="worker_lost", words=words), None)
        rows.events = [("rollout.lost", r.run_id, r.id, {"attempt": r.attempt}) for r in expired]
        self._write(c, rows, now)

    def _end_one(self, ending: Ending) -> Applied:
        (told,) = self._end((ending,))
        return told

    def _kept(self, trajectory: Trajectory | None) -> Kept | None:
        return None if trajectory is None else self.keep(trajectory)

    def _end(self, endings: Sequence[Ending]) -> list[Applied]:
        """Endings of different jobs."""
        told: list[Applied] = []
        rows = _Rows()
        states: dict[Claim, str] = {}
        with self.write() as c:
            now = self.now()
            asked = {"p_jobs": [ending.claim.job for ending in endings]}
            found: Sequence[sa.Row[Any]] = c.execute(queue_sql.JOBS_LOCKED, asked).all()
            held = {row.id: row for row in found}
            for ending in endings:
                row = held.get(ending.claim.job)
                told.append(stands := _standing(row, ending.claim))
                if row is None or stands in ("repeated", "superseded"):
                    continue
                kept = self._keep_row(rows, ending, row, stands == "cancelled", now)
                if stands == "cancelled":
                    self._record_attempt(rows, row, ending.claim.worker, now, "cancelled", None, ending.words, kept)
                    if kept is not None:
                        rows.jobs.append({"p_job": row.id, "trajectory_id": kept})
                    continue
                states[ending.claim] = self._settle(c, rows, row, now, ending, kept)
            self._write(c, rows, now)
        if "queued" in states.values():
            self.queued()
        for run in {claim.run for claim, state in states.items() if state != "queued"}:
            if run is not None:
                self.finish_runs(run)
        return told

    def _keep_row(self, rows: _Rows, ending: Ending, row: sa.Row[Any], cancelled: bool, now: float) -> str | None:
        """The id of the trajectory that the ending brings, where it is a new one."""
        if ending.kept is None or row.trajectory_id == ending.kept.row["id"]:
            return None
        partial = ending.outcome != "succeeded" or cancelled
        rows.trajectories.append(
            ending.kept.row | {"partial": partial, "created": now, "reference_hash": row.reference_hash}
        )
        id = str(ending.kept.row["id"])
        if ending.score is not None and not partial:
            rows.scores.append(self._score_row(id, ending.score, now))
        return id

    def _settle(
        self, c: sa.Connection, rows: _Rows, row: sa.Row[Any], now: float, ending: Ending, kept: str | None
    ) -> str:
        """End the running attempt of `row`: its history, and where the job stands now. Returns that state."""
        values: dict[str, Any] = {"p_job": row.id, "owner": None, "lease_expires": None}
        words = keepable(ending.words)
        if ending.failure is not None:
            values |= self._after_failure(c, row, now, ending.failure, words, ending.permanent)
        elif ending.outcome == "succeeded":
            values |= {"state": "succeeded", "result": ending.result}
        else:
            values |= {"state": "queued", "next_attempt_at": 0.0}
        if values["state"] != "queued":
            values["finished"] = now
        if kept is not None:
            values["trajectory_id"] = kept
        rows.jobs.append(values)
        self._record_attempt(rows, row, row.owner, now, ending.outcome, ending.failure, words, kept)
        state = str(values["state"])
        data = {"attempt": row.attempt, "failure": ending.failure, "trajectory": kept, "state": state}
        rows.events.append((f"{row.kind}.{ending.outcome}", row.run_id, row.id, data))
        return state

    def _after_failure(
        self, c: sa.Connection, row: sa.Row[Any], now: float, failure: FailureClass, words: str, permanent: bool
    ) -> dict[str, Any]:
        alike = sa.select(sa.func.count()).where(
            attempts.c.job_id == row.id, attempts.c.failure == failure, attempts.c.attempt > row.attempts_forgiven
        )
        spec = sa.select(runs.c.spec).where(runs.c.id == row.run_id)
        found = c.execute(spec).scalar_one_or_none()
        # Not read whole: it may be of another release, and must not trip who takes back what is lost.
        bound = (found or {}).get("max_attempts", RunSpec.model_fields["max_attempts"].default)
        delay = delay_after(failure, c.execute(alike).scalar_one() + 1, bound, permanent=permanent)
        if delay is None:
            return {"state": "failed", "failure": failure, "error": words}
        return {"state": "queued", "next_attempt_at": now + delay if delay else 0.0}

    def _record_attempt(
        self,
        rows: _Rows,
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
            "error": keepable(words),
            "trajectory_id": kept,
        }
        rows.attempts.append(values)

    def _write(self, c: sa.Connection, rows: _Rows, now: float) -> None:
        for table, new in ((trajectories, rows.trajectories), (scores, rows.scores)):
            if new:
                c.execute(table.insert(), new)
        for alike in _by_columns(rows.jobs):
            c.execute(queue_sql.END_JOB, alike)
        self.insert_new(c, attempts, rows.attempts)
        self.emit(c, now, *rows.events)


def _by_columns(rows: Iterable[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Rows that set the same columns, together."""
    found: defaultdict[frozenset[str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[frozenset(row)].append(row)
    return found.values()


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
