"""Model endpoints: what is added and removed while runs go on, what their calls came to, how they are."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "endpoints",
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("at_once", sa.Integer(), nullable=True),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("base_url", "run_id", name=op.f("pk_endpoints")),
    )
    op.create_table(
        "endpoint_calls",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("recent_calls", sa.BigInteger(), nullable=False),
        sa.Column("recent_prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("recent_completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("recent_seconds", sa.Double(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("troubled", sa.Double(), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "endpoint", "worker", name=op.f("pk_endpoint_calls")),
    )
    op.create_table(
        "endpoint_states",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "worker", name=op.f("pk_endpoint_states")),
    )
    op.create_index("ix_trajectories_recent", "trajectories", ["run_id", "created"], unique=False)
