"""The database's history, step by step, and the one call that brings a database to its end."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

_MIGRATION_LOCK = 0x7472616A64


class NewerDatabase(RuntimeError):
    """The database was brought further by a newer trajc."""


def config(connection: sa.Connection) -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def standing(c: sa.Connection) -> str | None:
    """The step that the database stands at; None for an empty one. Raises `NewerDatabase`."""
    script = ScriptDirectory.from_config(config(c))
    current = MigrationContext.configure(c).get_current_revision()
    if current is not None and current not in {step.revision for step in script.walk_revisions()}:
        raise NewerDatabase(f"the database stands at step {current!r}, which this trajc does not know; upgrade trajc")
    return current


def upgrade(engine: sa.Engine) -> None:
    """Bring the database to the newest step; many processes may call this at once. Raises `NewerDatabase`."""
    with engine.connect().execution_options(trajc_writes=True) as c, c.begin():
        if c.dialect.name == "postgresql":
            c.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        if standing(c) != ScriptDirectory.from_config(config(c)).get_current_head():
            command.upgrade(config(c), "head")
