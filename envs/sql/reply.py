"""What a worker answers to one statement."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

Trouble = Literal["refused", "error", "timeout", "memory", "crashed", "broken"]


@dataclass(frozen=True)
class Rows:
    """The statement ran."""

    columns: tuple[tuple[str, str], ...]
    """Name and DuckDB type."""
    rows: list[list[Any]]
    """JSON values: the rows kept, the first ones."""
    count: int
    """Rows counted, kept or not."""
    more: bool
    """Whether there were more than were counted."""
    unkept: int
    """Bytes of the first row that was not kept; 0 where all were."""
    tables: tuple[str, ...]
    """Base tables that the query read."""
    listed: tuple[str, ...]
    """Base tables that the answer told of without reading them."""
    sql: str
    """What ran; empty for an answer out of the manifest."""
    note: str
    """The translated statement, where it is not what was asked."""
    query: bool
    """Whether it was a query (and no EXPLAIN, SHOW or the like)."""

    @property
    def left(self) -> int:
        """Rows counted and not kept."""
        return self.count - len(self.rows)


@dataclass(frozen=True)
class Failed:
    """The statement did not run. Only `broken` is a fault of ours; all others are the statement's."""

    kind: Trouble
    words: str


Reply = Rows | Failed


def parse_reply(data: bytes) -> Reply:
    raw = orjson.loads(data)
    if not raw["ok"]:
        return Failed(kind=raw["kind"], words=raw["words"])
    return Rows(
        columns=tuple((name, kind) for name, kind in raw["columns"]),
        rows=raw["rows"],
        count=raw["count"],
        more=raw["more"],
        unkept=raw["unkept"],
        tables=tuple(raw["tables"]),
        listed=tuple(raw["listed"]),
        sql=raw["sql"],
        note=raw["note"],
        query=raw["query"],
    )
