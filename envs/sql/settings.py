"""What an operator can set for the SQL environment (`Site.settings`)."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from envs.frozen import Frozen
from envs.settings import read_settings
from envs.sql.connection import MEMORY

TABLE_BYTES = 64 * 1024 * 1024


class SqlSettings(Frozen):
    workers: int = Field(default=0, ge=0)
    """Statements that run at once; 0 is as many as there are cores."""
    idle_workers: int = Field(default=16, ge=0)
    """Processes kept waiting."""
    query_seconds: float = Field(default=30, gt=0)
    memory: str = Field(default=MEMORY, pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")
    """DuckDB's limit for one worker, such as "512MB"."""
    table_bytes: int = Field(default=TABLE_BYTES, ge=0)
    """The largest table that is kept as evidence; a larger one is counted as too large."""


def parse_settings(given: Mapping[str, Any]) -> SqlSettings:
    """Raises `TaskError` naming the wrong setting."""
    return read_settings(SqlSettings, given, "sql")
