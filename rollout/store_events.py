"""What changed, in order: for those who watch."""

import sqlalchemy as sa

from rollout.runs import Event
from rollout.schema import events
from rollout.store_part import CHUNK, StorePart


class Events(StorePart):
    def events(self, after: int = 0, limit: int = 500, run: str | None = None) -> tuple[Event, ...]:
        """Those with a greater id, oldest first."""
        query = events.select().where(events.c.id > after).order_by(events.c.id).limit(limit)
        if run is not None:
            query = query.where(events.c.run_id == run)
        with self.read() as c:
            rows = c.execute(query).all()
        return tuple(Event(id=r.id, kind=r.kind, run=r.run_id, job=r.job_id, data=r.data, at=r.at) for r in rows)

    def last_event(self) -> int:
        """The newest id; 0 where nothing happened yet."""
        with self.read() as c:
            return c.execute(sa.select(sa.func.max(events.c.id))).scalar_one() or 0

    def trim_events(self, seconds: float) -> int:
        """Forget what happened longer ago than this, a few at a time so that nobody waits for it. Returns how many."""
        forgotten = 0
        while True:
            with self.write() as c:
                first = events.select().order_by(events.c.id).limit(CHUNK)
                old = [row.id for row in c.execute(first).all() if row.at < self.now() - seconds]
                c.execute(events.delete().where(events.c.id.in_(old)))
            forgotten += len(old)
            if len(old) < CHUNK:
                return forgotten
