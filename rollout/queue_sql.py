"""The statements that claim and end jobs, built once: putting them together anew costs more than the database takes
for them.

Their parameters: `p_kinds`, `p_now`, `p_run`, `p_n`, `p_job`, `p_attempt`, `p_worker`, `p_expires`.
"""

from typing import Any

import sqlalchemy as sa

from rollout.schema import STATES, jobs, runs

_RUNS_AT_ONCE = 64

QUEUED, RUNNING = STATES["queued"], STATES["running"]

_job = jobs.c
_kinds = _job.kind.in_(sa.bindparam("p_kinds", expanding=True))
_started = QUEUED & (_job.next_attempt_at <= sa.bindparam("p_now", type_=sa.Double))
_of_run = _job.run_id == sa.bindparam("p_run", type_=sa.Text)
_of_none = _job.run_id.is_(None)
_n = sa.bindparam("p_n", type_=sa.Integer)

_with_due = (
    runs.c.finished.is_(None) & runs.c.paused.is_(False) & sa.exists().where(_job.run_id == runs.c.id, _kinds, _started)
)
RUNS_WITH_DUE = sa.select(runs.c.id).where(_with_due).order_by(runs.c.priority.desc(), runs.c.id).limit(_RUNS_AT_ONCE)
"""Runs that a claim would take from, in the order they are served."""
URGENCY = sa.select(runs.c.priority).where(_with_due).order_by(runs.c.priority.desc(), runs.c.id).limit(1)


def _first(mine: sa.ColumnElement[bool], *columns: Any) -> sa.Select[Any]:
    query = sa.select(*columns).where(mine, _kinds, _started)
    return query.order_by(_job.priority.desc(), _job.next_attempt_at, _job.id).limit(_n)


def _take(due: sa.Select[Any]) -> Any:
    picked = due.with_for_update(skip_locked=True).cte("picked")  # read once: a subquery might be run for each row
    now = sa.bindparam("p_now", type_=sa.Double)
    return (
        jobs.update()
        .where(_job.id.in_(sa.select(picked.c.id)), QUEUED)
        .values(
            state="running",
            attempt=_job.attempt + 1,
            owner=sa.bindparam("p_worker", type_=sa.Text),
            claimed=now,
            heartbeat=now,
            lease_expires=sa.bindparam("p_expires", type_=sa.Double),
        )
        .returning(_job.id, _job.kind, _job.attempt, _job.run_id, _job.sample, _job.sample_group, _job.payload)
    )


DUE_OF_RUN = _first(_of_run, _job.id, _job.attempt + 1)
DUE_OF_NONE = _first(_of_none, _job.id, _job.attempt + 1)
TAKE_OF_RUN = _take(_first(_of_run, _job.id))
TAKE_OF_NONE = _take(_first(_of_none, _job.id))
TAKE_ONE = _take(
    sa.select(_job.id).where(
        _job.id == sa.bindparam("p_job", type_=sa.Text),
        _job.attempt == sa.bindparam("p_attempt", type_=sa.Integer) - 1,
        _started,
        _of_none | sa.exists().where(runs.c.id == _job.run_id, runs.c.paused.is_(False)),
    )
)

TAKE_AT_ONCE = (
    # On PostgreSQL: the run, its jobs and what is told of them in one statement, a transaction of its own. Each
    # further one would wait for its turn on a busy machine. No event is numbered before the lock is held.
    sa.text("""
with first as materialized (
    select runs.id from runs
    where runs.finished is null and runs.paused is false and exists (
        select from jobs where jobs.run_id = runs.id and jobs.kind in :p_kinds and jobs.state = 'queued'
        and jobs.next_attempt_at <= :p_now)
    order by runs.priority desc, runs.id limit 1
), picked as materialized (
    select jobs.id from jobs
    where jobs.run_id = (select id from first) and jobs.kind in :p_kinds and jobs.state = 'queued'
    and jobs.next_attempt_at <= :p_now
    order by jobs.priority desc, jobs.next_attempt_at, jobs.id limit :p_n for update skip locked
), taken as (
    update jobs set state = 'running', attempt = attempt + 1, owner = :p_worker, claimed = :p_now,
        heartbeat = :p_now, lease_expires = :p_expires
    where id in (select id from picked) and state = 'queued'
    returning id, kind, attempt, run_id, sample, sample_group, payload
), held as materialized (
    select pg_advisory_xact_lock(:p_lock) from (select from taken limit 1) as any_taken
), told as (
    insert into events (kind, run_id, job_id, data, at)
    select kind || '.running', run_id, id, json_build_object('attempt', attempt), :p_now
    from held, (select * from taken order by id) as taken
)
select (select id from first) as tried, taken.* from (select) as one left join taken on true
""")
    .bindparams(
        sa.bindparam("p_kinds", expanding=True),
        sa.bindparam("p_now", type_=sa.Double),
        sa.bindparam("p_expires", type_=sa.Double),
        sa.bindparam("p_n", type_=sa.Integer),
        sa.bindparam("p_worker", type_=sa.Text),
        sa.bindparam("p_lock", type_=sa.BigInteger),
    )
    .columns(
        tried=sa.Text,
        id=sa.Text,
        kind=sa.Text,
        attempt=sa.Integer,
        run_id=sa.Text,
        sample=sa.Integer,
        sample_group=sa.Text,
        payload=sa.JSON,
    )
)
"""One row without a job where there was nothing to take; `tried` is the run that it looked at, if any."""

JOBS_LOCKED: sa.Select[Any] = (
    sa.select(
        _job.id,
        _job.kind,
        _job.run_id,
        _job.reference_hash,
        _job.state,
        _job.attempt,
        _job.attempts_forgiven,
        _job.owner,
        _job.claimed,
        _job.trajectory_id,
    )
    .where(_job.id.in_(sa.bindparam("p_jobs", expanding=True)))
    .order_by(_job.id)  # one order for all, so that none waits in a circle
    .with_for_update()
)
END_JOB = jobs.update().where(_job.id == sa.bindparam("p_job", type_=sa.Text))
"""Sets the columns that are handed in beside `p_job`."""
NO_WORK_LEFT = (
    runs.c.finished.is_(None)
    & runs.c.sealed.is_(True)
    & ~sa.exists().where(_job.run_id == runs.c.id, _job.state.in_(("queued", "running")))
)
"""True of a run that is to be noted as finished."""
ENDED_RUNS = sa.select(runs.c.id).where(NO_WORK_LEFT)
ENDED_RUN = ENDED_RUNS.where(runs.c.id == sa.bindparam("p_run", type_=sa.Text))
