"""What the parts of the store share: the database and the blobs."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from envs.blobs import BlobStore
from rollout.database import Database, MakeId, NotFound
from rollout.schema import jobs

T = TypeVar("T")

CHUNK = 1000
"""Rows that one statement carries."""

FEW = 20
"""An error names the known ones up to this many."""


class StorePart(Database):
    def __init__(
        self,
        engine: sa.Engine,
        blobs: BlobStore,
        clock: Callable[[], float] | None = None,
        new_id: MakeId | None = None,
    ) -> None:
        super().__init__(engine, clock, new_id)
        self.blobs = blobs

    def _missing(self, c: sa.Connection, what: str, id: str, column: sa.Column[Any]) -> NotFound:
        known = c.execute(sa.select(column).distinct().order_by(column).limit(FEW + 1)).scalars().all()
        return NotFound(what, id, tuple(known) if len(known) <= FEW else ())

    def _said(self, name: str) -> Any:
        """What jobs' payloads say under this name: an id. PostgreSQL looks into no JSON that holds a NUL anywhere, so
        it is shown another character in its place."""
        payload = jobs.c.payload
        if self.sqlite:
            return payload[name].as_string()
        shown = sa.func.replace(sa.cast(payload, sa.Text), r"\u0000", r"\u0001")
        return sa.cast(shown, sa.JSON)[name].as_string()

    def _cancel_calls(self, c: sa.Connection, wanted_by: sa.ColumnElement[bool], now: float) -> int:
        """Model calls that nobody has begun, by what their payload says. Those under way are paid for, and kept."""
        calls = jobs.c.run_id.is_(None) & (jobs.c.kind == "generation") & (jobs.c.state == "queued")
        return self._cancel_jobs(c, calls & wanted_by, now)

    def _cancel_jobs(self, c: sa.Connection, which: sa.ColumnElement[bool], now: float) -> int:
        chosen = sa.select(jobs.c.id).where(which, jobs.c.state.in_(("queued", "running")))
        locked = chosen.order_by(jobs.c.id).with_for_update()  # one order for all, so that none waits in a circle
        ended = {"state": "cancelled", "owner": None, "lease_expires": None, "finished": now}
        return c.execute(jobs.update().where(jobs.c.id.in_(locked)).values(ended)).rowcount


def chunked(rows: Iterable[T]) -> Iterator[list[T]]:
    """Lists of up to `CHUNK` rows."""
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk
