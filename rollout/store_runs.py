"""Runs: how they come to be, what is appended to them, how they are held, ended and tried again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from envs.errors import FailureClass
from envs.frozen import content_hash
from rollout.accounts import Accounts, accounts_of
from rollout.database import Conflict
from rollout.queue_sql import ENDED_RUN, ENDED_RUNS, NO_WORK_LEFT
from rollout.runs import Page, Run, RunSpec, TaskRow
from rollout.schema import jobs, runs
from rollout.store_part import chunked
from rollout.store_tasks import Staged, TaskSets


class Runs(TaskSets):
    def create_run(
        self,
        spec: RunSpec,
        rows: Iterable[TaskRow] = (),
        *,
        sealed: bool = True,
        idempotency_key: str | None = None,
    ) -> Run:
        """A run with these tasks, whole or not at all. An open run (`sealed=False`) takes more tasks later.

        The same key with the same request gives the run that there is; with another it raises `Conflict`.
        Raises `TaskError` where a task is of another environment.
        """
        with self._stage(rows, spec.environment, spec.limits) as staged:
            request = content_hash([spec, staged.hash, sealed])
            with self.write() as c:
                id = self._run_of_key(c, idempotency_key, request)
                if id is None:
                    id = self._insert_run(c, spec, staged, sealed, idempotency_key, request)
        self.queued()
        return self.run(id)

    def append_tasks(self, run: str, rows: Iterable[TaskRow]) -> int:
        """Append a stream of tasks to an open run; they become visible together, or none does.

        Returns the rollouts that were queued. Raises `NotFound`, `TaskError`, or `Conflict` for a sealed run.
        """
        spec = self._open_run(run)
        with self._stage(rows, spec.environment, spec.limits) as staged, self.write() as c:
            row = self._locked(c, run)
            if row.sealed:
                raise Conflict(f"run {run} was sealed while its tasks were coming in; nothing was queued")
            now, added = self.now(), staged.size * spec.samples
            c.execute(runs.update().where(runs.c.id == run).values(submitted=runs.c.submitted + added))
            self._queue_rollouts(c, run, spec, staged, now)
            self.emit(c, now, ("run.appended", run, None, {"submitted": added}))
        self.queued()
        return added

    def seal(self, run: str) -> Run:
        """No more tasks. Sealing a sealed run changes nothing. Raises `NotFound`."""
        self._mark(run, "run.sealed", sealed=True)
        self.finish_runs(run)
        return self.run(run)

    def pause(self, run: str) -> Run:
        """Nothing of the run is claimed until it is resumed; what runs goes on. A run that is done stays as it is.
        Raises `NotFound`."""
        self._mark(run, "run.paused", paused=True)
        return self.run(run)

    def resume(self, run: str) -> Run:
        self._mark(run, "run.resumed", paused=False)
        self.queued()
        return self.run(run)

    def cancel(self, run: str) -> Run:
        """End every rollout that has not ended, at once and for good, and seal the run. A run that is done stays as it
        is: what failed in it may still be tried again. Raises `NotFound`.

        A worker that is at one of them learns of it at its next heartbeat; what it hands in changes nothing.
        """
        with self.write() as c:
            if self._locked(c, run).finished is None:
                now = self.now()
                ended = {"cancel_requested": True, "sealed": True, "paused": False}
                c.execute(runs.update().where(runs.c.id == run).values(ended))
                count = self._cancel_jobs(c, jobs.c.run_id == run, now)
                self._cancel_calls(c, self._said("run") == run, now)
                self.emit(c, now, ("run.cancelled", run, None, {"cancelled": count}))
        self.finish_runs(run)
        return self.run(run)

    def retry(self, run: str, failures: Sequence[FailureClass] = ()) -> int:
        """Queue again what failed in these classes (none means all). Returns how many.

        Their attempts go on counting, with a fresh allowance. Raises `NotFound`, or `Conflict` for a cancelled run.
        """
        chosen = (jobs.c.run_id == run) & (jobs.c.state == "failed")
        if failures:
            chosen &= jobs.c.failure.in_(failures)
        again = {"state": "queued", "failure": None, "error": "", "next_attempt_at": 0.0, "finished": None}
        with self.write() as c:
            if self._locked(c, run).cancel_requested:
                raise Conflict(f"run {run} was cancelled; queue its tasks in a new run")
            now = self.now()
            count = c.execute(
                jobs.update().where(chosen).values(again | {"attempts_forgiven": jobs.c.attempt})
            ).rowcount
            if count:
                c.execute(runs.update().where(runs.c.id == run).values(finished=None))
            self.emit(c, now, ("run.retried", run, None, {"queued": count, "failures": list(failures)}))
        self.queued()
        return count

    def run(self, id: str) -> Run:
        """Raises `NotFound`."""
        with self.read() as c:
            row = c.execute(runs.select().where(runs.c.id == id)).one_or_none()
            if row is None:
                raise self._missing(c, "run", id, runs.c.id)
            return self._runs(c, [row])[0]

    def check_run(self, id: str) -> None:
        """Whether it is there. Raises `NotFound`."""
        with self.read() as c:
            if c.execute(sa.select(runs.c.id).where(runs.c.id == id)).one_or_none() is None:
                raise self._missing(c, "run", id, runs.c.id)

    def runs(self, cursor: str | None = None, limit: int = 50) -> Page[Run]:
        """Newest first."""
        query = runs.select().order_by(runs.c.id.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(runs.c.id < cursor)
        with self.read() as c:
            rows = c.execute(query).all()
            items = self._runs(c, rows[:limit])
        return Page(items, items[-1].id if len(rows) > limit else None)

    def live_runs(self) -> tuple[Run, ...]:
        """Those that are not finished, without their accounts."""
        with self.read() as c:
            rows = c.execute(runs.select().where(runs.c.finished.is_(None)).order_by(runs.c.id)).all()
        return tuple(_run(row, Accounts()) for row in rows)

    def accounts(self, run: str) -> Accounts:
        """Raises `NotFound`."""
        return self.run(run).accounts

    def finish_runs(self, run: str | None = None) -> None:
        """Note which sealed runs have nothing left to do; called after a transaction that may have ended one.

        Apart from that transaction, since of two that end the last two rollouts neither sees the other's end.
        """
        query, asked = (ENDED_RUNS, {}) if run is None else (ENDED_RUN, {"p_run": run})
        with self.read() as c:
            found = c.execute(query, asked).scalars().all()
        if not found:
            return
        with self.write() as c:
            now = self.now()
            ended = c.execute(
                runs.update()
                .where(NO_WORK_LEFT, runs.c.id.in_(found))
                .values(finished=now, paused=False)
                .returning(runs.c.id)
            ).scalars()
            self.emit(c, now, *(("run.finished", id, None, {}) for id in ended.all()))

    def _runs(self, c: sa.Connection, rows: Sequence[sa.Row[Any]]) -> tuple[Run, ...]:
        """With their accounts, counted in the same transaction as the rows were read."""
        of = jobs.c
        query = (
            sa.select(of.run_id, of.state, of.failure, sa.func.count())
            .where(of.run_id.in_([row.id for row in rows]), of.id.startswith("ro_"))  # the index holds ids, not kinds
            .group_by(of.run_id, of.state, of.failure)
        )
        counted: dict[str, list[tuple[str, str | None, int]]] = {row.id: [] for row in rows}
        for run, state, failure, count in c.execute(query):
            counted[run].append((state, failure, count))
        return tuple(_run(row, accounts_of(row.submitted, counted[row.id])) for row in rows)

    def _run_of_key(self, c: sa.Connection, key: str | None, request: str) -> str | None:
        if key is None:
            return None
        self.lock(c, f"run key {key}")
        query = sa.select(runs.c.id, runs.c.request_hash).where(runs.c.idempotency_key == key)
        there = c.execute(query).one_or_none()
        if there is None:
            return None
        if there.request_hash != request:
            raise Conflict(f"idempotency key {key!r} was used for another request (run {there.id})")
        return str(there.id)

    def _insert_run(
        self, c: sa.Connection, spec: RunSpec, staged: Staged, sealed: bool, key: str | None, request: str
    ) -> str:
        now, id = self.now(), self.new_id("run")
        values = {
            "id": id,
            "name": spec.name,
            "environment": spec.environment,
            "spec": spec.model_dump(mode="json"),
            "priority": spec.priority,
            "sealed": sealed,
            "paused": False,
            "cancel_requested": False,
            "submitted": staged.size * spec.samples,
            "idempotency_key": key,
            "request_hash": request,
            "created": now,
            "finished": now if sealed and not staged.size else None,
        }
        c.execute(runs.insert(), values)
        self._queue_rollouts(c, id, spec, staged, now)
        self.emit(c, now, ("run.created", id, None, {"submitted": values["submitted"]}))
        return id

    def _open_run(self, run: str) -> RunSpec:
        with self.read() as c:
            row = c.execute(sa.select(runs.c.spec, runs.c.sealed).where(runs.c.id == run)).one_or_none()
            if row is None:
                raise self._missing(c, "run", run, runs.c.id)
        if row.sealed:
            raise Conflict(f"run {run} is sealed; make a new run for more tasks")
        return RunSpec.model_validate(row.spec)

    def _locked(self, c: sa.Connection, run: str) -> sa.Row[Any]:
        """The run's row, held against other writers until the transaction ends."""
        row = c.execute(runs.select().where(runs.c.id == run).with_for_update()).one_or_none()
        if row is None:
            raise self._missing(c, "run", run, runs.c.id)
        return row

    def _mark(self, run: str, event: str, **values: bool) -> None:
        with self.write() as c:
            if self._locked(c, run).finished is not None:
                return
            c.execute(runs.update().where(runs.c.id == run).values(**values))
            self.emit(c, self.now(), (event, run, None, {}))

    def _queue_rollouts(self, c: sa.Connection, run: str, spec: RunSpec, staged: Staged, now: float) -> None:
        for chunk in chunked(self._rollout_rows(run, spec, staged, now)):
            c.execute(jobs.insert(), chunk)

    def _rollout_rows(self, run: str, spec: RunSpec, staged: Staged, now: float) -> Iterator[dict[str, Any]]:
        for task_hash, reference_hash in staged:
            group = self.new_id("grp")
            for sample in range(spec.samples):
                yield {
                    "id": self.new_id("ro"),
                    "kind": "rollout",
                    "run_id": run,
                    "task_hash": task_hash,
                    "reference_hash": reference_hash,
                    "sample": sample,
                    "sample_group": group,
                    "state": "queued",
                    "priority": 0,
                    "attempt": 0,
                    "attempts_forgiven": 0,
                    "next_attempt_at": 0.0,
                    "error": "",
                    "created": now,
                }


def _run(row: sa.Row[Any], accounts: Accounts) -> Run:
    return Run(
        id=row.id,
        spec=RunSpec.model_validate(row.spec),
        sealed=row.sealed,
        paused=row.paused,
        cancel_requested=row.cancel_requested,
        created=row.created,
        finished=row.finished,
        accounts=accounts,
    )
