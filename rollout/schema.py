"""The tables. Times are Unix seconds; JSON columns hold what the records of `rollout.runs` are made of.

A job's attempt number is its fence: every claim raises it, and every write of a worker names the one it holds.
Migrations (`rollout/migrations`) bring a database to what stands here; a test compares the two.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

references = sa.Table(
    # Apart from the tasks: what is handed to an agent is read from a table that holds no answers.
    "references",
    metadata,
    sa.Column("task_hash", sa.Text, sa.ForeignKey("tasks.hash"), primary_key=True),
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

task_sets = sa.Table(
    "task_sets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.UniqueConstraint("name", "version"),
)

task_set_rows = sa.Table(
    "task_set_rows",
    metadata,
    sa.Column("task_set_id", sa.Text, sa.ForeignKey("task_sets.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("task_hash", sa.Text, sa.ForeignKey("tasks.hash"), nullable=False),
    sa.Column("reference_hash", sa.Text),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("sealed", sa.Boolean, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("submitted", sa.Integer, nullable=False),
    sa.Column("idempotency_key", sa.Text, unique=True),
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("finished", sa.Double),
)
sa.Index(
    "ix_runs_live",
    runs.c.priority,
    runs.c.id,
    sqlite_where=runs.c.finished.is_(None),
    postgresql_where=runs.c.finished.is_(None),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id")),
    sa.Column("task_hash", sa.Text, sa.ForeignKey("tasks.hash")),
    sa.Column("reference_hash", sa.Text),
    sa.Column("sample", sa.Integer, nullable=False),
    sa.Column("sample_group", sa.Text, nullable=False),
    sa.Column("payload", sa.JSON),
    sa.Column("result", sa.JSON),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("attempts_forgiven", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", sa.Double, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("claimed", sa.Double),
    sa.Column("heartbeat", sa.Double),
    sa.Column("lease_expires", sa.Double),
    sa.Column("failure", sa.Text),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("trajectory_id", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("finished", sa.Double),
    sa.CheckConstraint("state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"),
    sa.CheckConstraint("(state = 'failed') = (failure is not null)", name="failure"),
    sa.CheckConstraint("(state = 'running') = (owner is not null)", name="owner"),
)
STATES = {
    # As literals, so that the partial indexes serve.
    state: jobs.c.state == sa.literal_column(f"'{state}'")
    for state in ("queued", "running", "succeeded", "failed", "cancelled")
}
_queued, _running, _failed = STATES["queued"], STATES["running"], STATES["failed"]
sa.Index(
    "ix_jobs_claim",
    jobs.c.run_id,
    jobs.c.kind,
    jobs.c.priority.desc(),
    jobs.c.next_attempt_at,
    jobs.c.id,
    sqlite_where=_queued,
    postgresql_where=_queued,
)
sa.Index("ix_jobs_failed", jobs.c.id, jobs.c.failure, sqlite_where=_failed, postgresql_where=_failed)
# Of ids, not of times: a heartbeat changes no indexed column, so PostgreSQL writes it in place.
sa.Index("ix_jobs_running", jobs.c.id, sqlite_where=_running, postgresql_where=_running)
sa.Index("ix_jobs_accounts", jobs.c.run_id, jobs.c.state, jobs.c.id, jobs.c.failure)
sa.Index("ix_jobs_run", jobs.c.run_id, jobs.c.id)
sa.Index("ix_jobs_task", jobs.c.task_hash)

attempts = sa.Table(
    # Append-only: a row is written when an attempt ends; the one that is under way is told by the job itself.
    "attempts",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("ended", sa.Double, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("failure", sa.Text),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("trajectory_id", sa.Text),
)

trajectories = sa.Table(
    "trajectories",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text),
    sa.Column("rollout_id", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("task_hash", sa.Text, sa.ForeignKey("tasks.hash"), nullable=False),
    sa.Column("reference_hash", sa.Text),
    sa.Column("task_id", sa.Text, nullable=False),
    sa.Column("task_group", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("partial", sa.Boolean, nullable=False),
    sa.Column("stop", sa.Text),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)
sa.Index("ix_trajectories_run", trajectories.c.run_id, trajectories.c.id)
sa.Index("ix_trajectories_recent", trajectories.c.run_id, trajectories.c.created)
sa.Index("ix_trajectories_environment", trajectories.c.environment, trajectories.c.id)
sa.Index("ix_trajectories_rollout", trajectories.c.rollout_id)
sa.Index("ix_trajectories_hash", trajectories.c.hash)

scores = sa.Table(
    "scores",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("trajectory_id", sa.Text, sa.ForeignKey("trajectories.id", ondelete="CASCADE"), nullable=False),
    sa.Column("scorer", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)
sa.Index("ix_scores_trajectory", scores.c.trajectory_id, scores.c.id)

compilations = sa.Table(
    "compilations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("recipe", sa.JSON, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("version", sa.Text),
    sa.Column("accounts", sa.JSON),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id")),
    sa.Column("idempotency_key", sa.Text, unique=True),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("finished", sa.Double),
    sa.CheckConstraint("state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"),
)

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("created", sa.Double, nullable=False),
)

dataset_versions = sa.Table(
    "dataset_versions",
    metadata,
    sa.Column("dataset", sa.Text, sa.ForeignKey("datasets.name"), primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("compilation_id", sa.Text, sa.ForeignKey("compilations.id")),
    sa.Column("manifest", sa.JSON, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("job_id", sa.Text),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sqlite_autoincrement=True,
)

endpoints = sa.Table(
    # What was added to, changed of or taken from the endpoints that settings and runs name.
    "endpoints",
    metadata,
    sa.Column("base_url", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),  # "": every run's
    sa.Column("model", sa.Text, nullable=False),  # "": any
    sa.Column("slots", sa.Integer),
    sa.Column("at_once", sa.Integer),
    sa.Column("removed", sa.Boolean, nullable=False),
    sa.Column("changed", sa.Double, nullable=False),
)

endpoint_calls = sa.Table(
    # What one process's model calls came to, as it last told; `recent_*` of its last minute.
    "endpoint_calls",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),  # "": of no run
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("recent_calls", sa.BigInteger, nullable=False),
    sa.Column("recent_prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("recent_completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("recent_seconds", sa.Double, nullable=False),
    sa.Column("trouble", sa.Text, nullable=False),
    sa.Column("troubled", sa.Double),
    sa.Column("at", sa.Double, nullable=False),
)

endpoint_states = sa.Table(
    # How one process sees an endpoint.
    "endpoint_states",
    metadata,
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("in_flight", sa.Integer, nullable=False),
    sa.Column("waiting", sa.Integer, nullable=False),
    sa.Column("trouble", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)
