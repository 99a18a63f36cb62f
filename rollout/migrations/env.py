"""What alembic runs for each upgrade: inside the transaction that the caller opened."""

from alembic import context

from rollout.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=False
)
context.run_migrations()
