"""What a SQL task names, and what scores it."""

from typing import Any

from pydantic import Field

from envs.blobs import Blob
from envs.frozen import Frozen

TABLE_MEDIA_TYPE = "application/vnd.trajc.table+jsonl"
"""A table as text: a first line `{"columns": [{"name", "type"}, ...]}`, then one JSON array a row, in the
table's own order. Exact: decimals as strings of digits, dates and times in ISO form."""


class SqlWorld(Frozen):
    database: str = Field(min_length=1)
    """Name of a loaded database."""
    version: str | None = None
    """Content hash of its tables; None means the newest when the task is validated."""
    tables: dict[str, Blob] = {}
    """Each table's full contents (`TABLE_MEDIA_TYPE`), filled when the task is validated."""


class SqlReference(Frozen):
    gold_sql: str = ""
    """In DuckDB's dialect, or the task's `dialect`."""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] | None = None
    """The gold query's materialised result as JSON values; None until it was run."""
    ordered: bool = False
    """Whether the order of the rows counts."""
    scorer: str = "spider"
