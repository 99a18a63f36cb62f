"""What is known of one loaded version of a database: its tables, their columns, keys and sizes.

The manifest is also the border: a relation that it does not name does not exist for the agent.
"""

import difflib
from collections.abc import Iterable

from envs.blobs import Blob
from envs.frozen import Frozen


class Column(Frozen):
    name: str
    type: str
    """DuckDB's name of the type."""
    nullable: bool = True


class ForeignKey(Frozen):
    columns: tuple[str, ...]
    table: str
    refers: tuple[str, ...]


class Table(Frozen):
    name: str
    columns: tuple[Column, ...]
    rows: int
    size: int
    """Bytes of the table's text (`envs.sql.world.TABLE_MEDIA_TYPE`), whether or not they are kept."""
    blob: Blob | None = None
    """The whole table as text; None where it was too large to keep."""
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()


class View(Frozen):
    name: str
    columns: tuple[Column, ...]
    sql: str
    """The query behind it, in DuckDB's dialect."""


class LeftOut(Frozen):
    """Something of the source that was not loaded, and why."""

    name: str
    why: str


class Manifest(Frozen):
    database: str
    version: str
    """Content hash of tables, keys and views: 64 lowercase hex digits."""
    tables: tuple[Table, ...]
    views: tuple[View, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def too_large(self) -> dict[str, int]:
        """Tables whose text was not kept, with its size in bytes."""
        return {t.name: t.size for t in self.tables if t.blob is None}

    @property
    def blobs(self) -> dict[str, Blob]:
        return {t.name: t.blob for t in self.tables if t.blob is not None}

    @property
    def relations(self) -> tuple[Table | View, ...]:
        return (*self.tables, *self.views)

    def find(self, name: str) -> Table | View | None:
        """By name, letter case aside, as DuckDB finds it."""
        folded = name.casefold()
        return next((r for r in self.relations if r.name.casefold() == folded), None)


def near(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known names most like this one, best first: containment and spelling, letter case and `_` aside."""
    folded = _fold(name)
    scored = []
    for candidate in known:
        other = _fold(candidate)
        ratio = difflib.SequenceMatcher(None, folded, other).ratio()
        if folded and other and (folded in other or other in folded):
            ratio = max(ratio, 0.8)
        scored.append((ratio, candidate))
    scored.sort(key=lambda pair: (-pair[0], pair[1]))
    return tuple(candidate for ratio, candidate in scored[:count] if ratio >= 0.5)


def _fold(name: str) -> str:
    return name.casefold().replace("_", "").replace(" ", "")
