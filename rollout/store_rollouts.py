"""Rollouts and other jobs as they stand: lists, one with its attempts, cancelling one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from envs.errors import FailureClass
from rollout.database import Conflict, NotFound
from rollout.runs import Attempt, Job, JobKind, JobState, Page, Rollout, Work
from rollout.runs import RunSpec as Spec
from rollout.schema import STATES, attempts, compilations, jobs, references, runs, tasks
from rollout.store_runs import Runs
from rollout.store_tasks import reference_of, task_of


class Rollouts(Runs):
    def rollouts(
        self,
        *,
        run: str | None = None,
        status: JobState | None = None,
        environment: str | None = None,
        failure: FailureClass | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Rollout]:
        """Those that match every filter given, in the order they were queued. Raises `NotFound` for no known state."""
        query = _ROLLOUTS.order_by(jobs.c.id).limit(limit + 1)
        if run is not None:
            query = query.where(jobs.c.run_id == run)
        if status is not None:
            if status not in STATES:
                raise NotFound("state of a rollout", status, tuple(STATES))
            query = query.where(STATES[status])
        if environment is not None:
            query = query.where(runs.c.environment == environment)
        if failure is not None:
            query = query.where(STATES["failed"], jobs.c.failure == failure)
        if cursor is not None:
            query = query.where(jobs.c.id > cursor)
        with self.read() as c:
            rows = c.execute(query).all()
        items = tuple(_rollout(row) for row in rows[:limit])
        return Page(items, items[-1].id if len(rows) > limit else None)

    def rollout(self, id: str) -> Rollout:
        """With its ended attempts. Raises `NotFound`."""
        with self.read() as c:
            row = c.execute(_ROLLOUTS.where(jobs.c.id == id)).one_or_none()
            if row is None:
                raise NotFound("rollout", id)
            return replace(_rollout(row), attempts=self._attempts(c, id))

    def cancel_rollout(self, id: str) -> Rollout:
        """End it for good, queued or running; one that has ended stays as it is. Raises `NotFound`."""
        with self.write() as c:
            now = self.now()
            if self._cancel_jobs(c, jobs.c.id == id, now):
                run = c.execute(sa.select(jobs.c.run_id).where(jobs.c.id == id)).scalar_one()
                self.emit(c, now, ("rollout.cancelled", run, id, {}))
        rollout = self.rollout(id)
        self.finish_runs(rollout.run)
        return rollout

    def work(self, rollout: str) -> Work:
        """What a worker needs to run it and to score it. Raises `NotFound`, or `ValueError` where it cannot be read."""
        (work,) = self.works([rollout])
        if isinstance(work, Exception):
            raise work
        return work

    def works(self, rollouts: Sequence[str]) -> list[Work | Exception]:
        """`work` of many, in their order: in place of one that cannot be had, what `work` would raise."""
        with self.read() as c:
            rows = {row.id: row for row in c.execute(_WORK, {"p_jobs": rollouts})}
        specs: dict[str, Spec] = {}
        return [NotFound("rollout", id) if id not in rows else _work(rows[id], specs) for id in rollouts]

    def enqueue(self, kind: JobKind, payload: dict[str, Any], *, run: str | None = None, priority: int = 0) -> Job:
        """Queue a job of a kind other than rollout."""
        id = self.new_id(_PREFIX[kind])
        with self.write() as c:
            now = self.now()
            values = _fresh(id, kind, payload, now) | {"run_id": run, "priority": priority}
            c.execute(jobs.insert(), values)
            self.emit(c, now, (f"{kind}.queued", run, id, {}))
        self.queued()
        return self.job(id)

    def order(self, kind: JobKind, payloads: Mapping[str, dict[str, Any]], *, compilation: str | None = None) -> None:
        """Queue jobs of no run under ids that the caller made of what they are to do, each once however often it is
        ordered. One that failed or was cancelled is queued again, with a fresh allowance of attempts.

        Raises `Conflict` where the compilation that orders them has ended.
        """
        of = jobs.c
        again = {"state": "queued", "failure": None, "error": "", "next_attempt_at": 0.0, "finished": None}
        with self.write() as c:
            now = self.now()
            if compilation is not None:
                self._lives(c, compilation)
            there = {*c.execute(sa.select(of.id).where(of.id.in_(payloads))).scalars()}
            # In one order for all, so that two who order the same do not wait for each other in a circle.
            new = [_fresh(id, kind, payloads[id], now) for id in sorted(payloads.keys() - there)]
            self.insert_new(c, jobs, new)
            for id in sorted(there):
                ended = (of.id == id) & of.state.in_(("failed", "cancelled"))
                values = again | {"attempts_forgiven": of.attempt, "payload": payloads[id]}
                c.execute(jobs.update().where(ended).values(values))
            self.emit(c, now, *((f"{kind}.queued", None, row["id"], {}) for row in new))
        self.queued()

    def job(self, id: str) -> Job:
        """Raises `NotFound`."""
        found = self.jobs([id])
        if not found:
            raise NotFound("job", id)
        return found[0]

    def jobs(self, ids: Sequence[str]) -> tuple[Job, ...]:
        """Those of these that there are, in this order."""
        with self.read() as c:
            rows = {row.id: row for row in c.execute(jobs.select().where(jobs.c.id.in_(ids)))}
        return tuple(_job(rows[id]) for id in ids if id in rows)

    def results(self, kind: JobKind, first: str, last: str) -> dict[str, dict[str, Any]]:
        """What jobs with ids from `first` to `last` have given, or noted so far, by id."""
        of = jobs.c
        query = sa.select(of.id, of.result).where(of.id.between(first, last), of.kind == kind)
        with self.read() as c:
            return {row.id: row.result for row in c.execute(query.order_by(of.id)) if row.result is not None}

    def _lives(self, c: sa.Connection, compilation: str) -> None:
        """Until the transaction ends nobody cancels it."""
        query = sa.select(compilations.c.state).where(compilations.c.id == compilation).with_for_update()
        state = c.execute(query).scalar_one_or_none()
        if state not in ("queued", "running"):
            raise Conflict(f"compilation {compilation} has ended ({state}): it orders nothing more")

    def _attempts(self, c: sa.Connection, job: str) -> tuple[Attempt, ...]:
        rows = c.execute(attempts.select().where(attempts.c.job_id == job).order_by(attempts.c.attempt))
        return tuple(
            Attempt(
                attempt=row.attempt,
                worker=row.worker,
                started=row.started,
                ended=row.ended,
                outcome=row.outcome,
                failure=row.failure,
                error=row.error,
                trajectory=row.trajectory_id,
            )
            for row in rows
        )


_PREFIX: dict[JobKind, str] = {"rollout": "ro", "generation": "gen", "compile_shard": "cs", "eval": "ev"}

_WORK = (
    sa.select(jobs.c.id, jobs.c.run_id, runs.c.spec, tasks.c.body, references.c.body.label("reference"))
    .join(runs, runs.c.id == jobs.c.run_id)
    .join(tasks, tasks.c.hash == jobs.c.task_hash)
    .outerjoin(references, (references.c.task_hash == jobs.c.task_hash) & (references.c.hash == jobs.c.reference_hash))
    .where(jobs.c.id.in_(sa.bindparam("p_jobs", expanding=True)))
)

_ROLLOUTS = (
    sa.select(jobs, runs.c.environment, tasks.c.id.label("task_id"))
    .join(runs, runs.c.id == jobs.c.run_id)
    .join(tasks, tasks.c.hash == jobs.c.task_hash)
    .where(jobs.c.kind == "rollout")
)


def _work(row: Any, specs: dict[str, Spec]) -> Work | ValueError:
    """`specs`: those that are read already, by run."""
    try:
        spec = specs.get(row.run_id) or specs.setdefault(row.run_id, Spec.model_validate(row.spec))
        return Work(row.run_id, spec, task_of(row.body), reference_of(row.reference))
    except ValueError as e:  # of another release, say
        return e


def _fresh(id: str, kind: JobKind, payload: dict[str, Any], now: float) -> dict[str, Any]:
    """The row of a queued job of no run."""
    return {
        "id": id,
        "kind": kind,
        "run_id": None,
        "sample": 0,
        "sample_group": "",
        "payload": payload,
        "state": "queued",
        "priority": 0,
        "attempt": 0,
        "attempts_forgiven": 0,
        "next_attempt_at": 0.0,
        "error": "",
        "created": now,
    }


def _job(row: sa.Row[Any]) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        run=row.run_id,
        state=row.state,
        attempt=row.attempt,
        worker=row.owner,
        failure=row.failure,
        error=row.error,
        payload=row.payload or {},
        result=row.result,
        created=row.created,
        finished=row.finished,
    )


def _rollout(row: sa.Row[Any]) -> Rollout:
    return Rollout(
        id=row.id,
        run=row.run_id,
        environment=row.environment,
        task_hash=row.task_hash,
        task_id=row.task_id,
        sample=row.sample,
        group=row.sample_group,
        state=row.state,
        attempt=row.attempt,
        worker=row.owner,
        failure=row.failure,
        error=row.error,
        trajectory=row.trajectory_id,
        next_attempt_at=row.next_attempt_at,
        created=row.created,
        finished=row.finished,
        claimed=row.claimed,
    )
