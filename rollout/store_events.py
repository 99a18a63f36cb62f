"""What changed, in order: for those who watch."""

import sqlalchemy as sa

from rollout.runs import Event
from rollout.schema import events
from rollout.store_part import StorePart


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

    def trim_events(self, before: float) -> int:
        """Forget what happened before this time. Returns how many."""
        with self.write() as c:
            return c.execute(events.delete().where(events.c.at < before)).rowcount
