"""Model endpoints in the database: what every process reads and tells of them, in one short transaction each time."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from rollout.database import keepable
from rollout.endpoints import FRESH_SECONDS, EndpointCalls, EndpointEntry, EndpointState, EndpointUse, uses
from rollout.schema import STATES, endpoint_calls, endpoint_states, endpoints, jobs
from rollout.store_part import StorePart


class Endpoints(StorePart):
    def put_endpoint(self, entry: EndpointEntry) -> EndpointEntry:
        """Add it, or change what is there of it."""
        with self.write() as c:
            now = self.now()
            values = {**asdict(entry), "changed": now}
            values["run_id"] = values.pop("run")
            self.upsert(c, endpoints, [values])
            kind = "endpoint.removed" if entry.removed else "endpoint.added"
            self.emit(c, now, (kind, entry.run or None, None, {"base_url": entry.base_url}))
        return EndpointEntry(**{**asdict(entry), "changed": now})

    def endpoint_entries(self) -> tuple[EndpointEntry, ...]:
        with self.read() as c:
            return self._entries(c)

    def endpoint_uses(self, run: str | None = None) -> tuple[EndpointUse, ...]:
        """By endpoint: of one run, or all that any process told of."""
        calls = (
            endpoint_calls.select() if run is None else endpoint_calls.select().where(endpoint_calls.c.run_id == run)
        )
        with self.read() as c:
            told = [_calls(row) for row in c.execute(calls)]
            states = self._states(c)
        return uses(told, states, self.now(), model_calls_of_run=run is not None)

    def exchange(
        self, worker: str, calls: Sequence[EndpointCalls], states: Sequence[EndpointState], runs: Iterable[str]
    ) -> "tuple[tuple[EndpointEntry, ...], tuple[EndpointState, ...], dict[str, dict[str, int]]]":
        """Tell what this process's calls came to and how it sees its endpoints; hear which endpoints there are, how
        others see theirs, and how many rollouts of these runs each worker has in hand."""
        if calls or states:
            with self.write() as c:
                now = self.now()
                self.upsert(c, endpoint_calls, [_row(one, now) for one in calls])
                self.upsert(c, endpoint_states, [_told(one, now) for one in states])
                old = endpoint_states.c.at < now - 60 * FRESH_SECONDS
                c.execute(endpoint_states.delete().where(old))
        with self.read() as c:
            now = self.now()
            others = tuple(s for s in self._states(c) if s.worker != worker and now - s.at < FRESH_SECONDS)
            return self._entries(c), others, {run: self._hands(c, run) for run in runs}

    def _entries(self, c: sa.Connection) -> tuple[EndpointEntry, ...]:
        rows = c.execute(endpoints.select().order_by(endpoints.c.base_url, endpoints.c.run_id))
        return tuple(EndpointEntry(**_renamed(row)) for row in rows)

    def _states(self, c: sa.Connection) -> tuple[EndpointState, ...]:
        return tuple(EndpointState(**row._mapping) for row in c.execute(endpoint_states.select()))

    def _hands(self, c: sa.Connection, run: str) -> dict[str, int]:
        query = sa.select(jobs.c.owner, sa.func.count()).where(STATES["running"], jobs.c.run_id == run)
        return {str(row[0]): int(row[1]) for row in c.execute(query.group_by(jobs.c.owner))}


def _calls(row: sa.Row[Any]) -> EndpointCalls:
    return EndpointCalls(**_renamed(row))


def _row(calls: EndpointCalls, now: float) -> dict[str, Any]:
    values = _told(calls, now)
    values["run_id"] = values.pop("run")
    return values


def _told(one: EndpointCalls | EndpointState, now: float) -> dict[str, Any]:
    return asdict(one) | {"at": now, "trouble": keepable(one.trouble)}  # the server's words


def _renamed(row: sa.Row[Any]) -> dict[str, Any]:
    values = {**row._mapping}
    values["run"] = values.pop("run_id")
    return values
