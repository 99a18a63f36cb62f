"""Compilations and what they publish: rows only; the files are the compiler's."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from rollout.database import Conflict, NotFound
from rollout.runs import Compilation, DatasetVersion, JobState, Page
from rollout.schema import STATES, compilations, dataset_versions, datasets, jobs
from rollout.store_part import FEW, StorePart


class Versions(StorePart):
    def create_compilation(
        self,
        recipe: dict[str, Any],
        dataset: str,
        *,
        run: str | None = None,
        idempotency_key: str | None = None,
    ) -> Compilation:
        """State `queued`. The same key with the same recipe gives the one there is, else raises `Conflict`."""
        with self.write() as c:
            if idempotency_key is not None:
                self.lock(c, f"compilation key {idempotency_key}")
                query = compilations.select().where(compilations.c.idempotency_key == idempotency_key)
                there = c.execute(query).one_or_none()
                if there is not None:
                    if there.recipe != recipe or there.dataset != dataset:
                        raise Conflict(
                            f"idempotency key {idempotency_key!r} was used for another request (compilation {there.id})"
                        )
                    return _compilation(there)
            now, id = self.now(), self.new_id("comp")
            values = {"id": id, "recipe": recipe, "dataset": dataset, "state": "queued", "error": "", "run_id": run}
            c.execute(compilations.insert(), values | {"idempotency_key": idempotency_key, "created": now})
            self.emit(c, now, ("compilation.queued", run, None, {"compilation": id, "dataset": dataset}))
        return self.compilation(id)

    def compilation(self, id: str) -> Compilation:
        """Raises `NotFound`."""
        with self.read() as c:
            row = c.execute(compilations.select().where(compilations.c.id == id)).one_or_none()
            if row is None:
                raise self._missing(c, "compilation", id, compilations.c.id)
            return _compilation(row)

    def compilations(self, cursor: str | None = None, limit: int = 50) -> Page[Compilation]:
        """Newest first."""
        query = compilations.select().order_by(compilations.c.id.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(compilations.c.id < cursor)
        with self.read() as c:
            rows = c.execute(query).all()
        items = tuple(_compilation(row) for row in rows[:limit])
        return Page(items, items[-1].id if len(rows) > limit else None)

    def set_compilation(
        self,
        id: str,
        state: JobState,
        *,
        version: str | None = None,
        accounts: dict[str, Any] | None = None,
        error: str = "",
    ) -> Compilation:
        """Say how it stands. One that has ended stays as it is: raises `Conflict`. Raises `NotFound`."""
        live = compilations.c.state.in_(("queued", "running"))
        with self.write() as c:
            now = self.now()
            values: dict[str, Any] = {"state": state, "version": version, "accounts": accounts, "error": error}
            if state not in ("queued", "running"):
                values["finished"] = now
            done = c.execute(compilations.update().where(compilations.c.id == id, live).values(values))
            if done.rowcount:
                self.emit(c, now, (f"compilation.{state}", None, None, {"compilation": id, "version": version}))
        now_stands = self.compilation(id)
        if not done.rowcount and now_stands.state != state:
            raise Conflict(f"compilation {id} has {now_stands.state} and stays so")
        return now_stands

    def publish(
        self,
        id: str,
        dataset: str,
        version: str,
        manifest: dict[str, Any],
        accounts: dict[str, Any],
        place: Callable[[], None] = lambda: None,
    ) -> DatasetVersion:
        """The compilation has succeeded, and its version is there: both or neither. Raises `Conflict` where it was
        cancelled or has failed meanwhile.

        A version that an earlier compilation published becomes the newest again: the latest is what was compiled last.

        `place` puts the files where they belong. It is called once nobody can cancel any more, and before anybody
        sees the version; so it is quick, and does no harm where it is called again."""
        live = (compilations.c.id == id) & compilations.c.state.in_(("queued", "running"))
        with self.write() as c:
            now = self.now()
            ended = {"state": "succeeded", "version": version, "accounts": accounts, "error": "", "finished": now}
            if not c.execute(compilations.update().where(live).values(ended)).rowcount:
                raise Conflict(f"compilation {id} has ended already; {dataset} {version} is not published by it")
            place()
            self._add_version(c, now, dataset, version, manifest, id)
            of = dataset_versions.c
            again = dataset_versions.update().where(of.dataset == dataset, of.version == version, of.created < now)
            c.execute(again.values(created=now))
            self.emit(c, now, ("compilation.succeeded", None, None, {"compilation": id, "version": version}))
        return self.version(dataset, version)

    def cancel_compilation(self, id: str) -> Compilation:
        """End it for good, queued or running; one that has ended stays as it is. Raises `NotFound`.

        Its own jobs end with it, and of the model calls that it ordered those that nobody has begun. Those under way
        are paid for: their replies are kept for whoever asks the same. A process that is at it learns of it within
        seconds and removes what it wrote.
        """
        live = (compilations.c.id == id) & compilations.c.state.in_(("queued", "running"))
        mine = self._said("compilation") == id
        with self.write() as c:
            now = self.now()
            if c.execute(compilations.update().where(live).values(state="cancelled", finished=now)).rowcount:
                self._cancel_jobs(c, mine & jobs.c.run_id.is_(None) & (jobs.c.kind == "compile_shard"), now)
                run = c.execute(sa.select(compilations.c.run_id).where(compilations.c.id == id)).scalar_one()
                calls = self._cancel_calls(c, mine if run is None else mine | (self._said("run") == run), now)
                data = {"compilation": id, "version": None, "calls": calls}
                self.emit(c, now, ("compilation.cancelled", None, None, data))
        return self.compilation(id)

    def failed_call(self, compilation: str) -> str:
        """The words of a model call that it ordered and that failed for good; empty where there is none."""
        mine = self._said("compilation") == compilation
        query = sa.select(jobs.c.failure, jobs.c.error).where(STATES["failed"], jobs.c.kind == "generation", mine)
        with self.read() as c:
            row = c.execute(query.order_by(jobs.c.id).limit(1)).one_or_none()
        return "" if row is None else f"{row.failure}: {row.error}"

    def add_version(
        self, dataset: str, version: str, manifest: dict[str, Any], compilation: str | None = None
    ) -> DatasetVersion:
        """Adding a version that is there changes nothing: versions are immutable and named by their content."""
        with self.write() as c:
            self._add_version(c, self.now(), dataset, version, manifest, compilation)
        return self.version(dataset, version)

    def datasets(self) -> tuple[str, ...]:
        """Their names, sorted."""
        with self.read() as c:
            return tuple(c.execute(sa.select(datasets.c.name).order_by(datasets.c.name)).scalars())

    def versions(self, dataset: str) -> tuple[DatasetVersion, ...]:
        """Newest first. Raises `NotFound`."""
        of = dataset_versions.c
        query = dataset_versions.select().where(of.dataset == dataset).order_by(of.created.desc(), of.version)
        with self.read() as c:
            rows = c.execute(query).all()
            if not rows:
                raise self._missing(c, "dataset", dataset, datasets.c.name)
        return tuple(_version(row) for row in rows)

    def version(self, dataset: str, version: str) -> DatasetVersion:
        """Raises `NotFound`."""
        known = {each.version: each for each in self.versions(dataset)}
        if version not in known:
            raise NotFound(f"version of dataset {dataset}", version, tuple(known)[:FEW])
        return known[version]

    def _add_version(
        self,
        c: sa.Connection,
        now: float,
        dataset: str,
        version: str,
        manifest: dict[str, Any],
        compilation: str | None,
    ) -> None:
        key = (dataset_versions.c.dataset == dataset) & (dataset_versions.c.version == version)
        there = c.execute(sa.select(dataset_versions.c.version).where(key)).first()
        self.insert_new(c, datasets, [{"name": dataset, "created": now}])
        row = {"dataset": dataset, "version": version, "compilation_id": compilation, "manifest": manifest}
        self.insert_new(c, dataset_versions, [row | {"created": now}])
        if there is None:
            self.emit(c, now, ("dataset.published", None, None, {"dataset": dataset, "version": version}))


def _compilation(row: sa.Row[Any]) -> Compilation:
    values = {**row._mapping}
    values["run"] = values.pop("run_id")
    del values["idempotency_key"]
    return Compilation(**values)


def _version(row: sa.Row[Any]) -> DatasetVersion:
    return DatasetVersion(
        dataset=row.dataset,
        version=row.version,
        compilation=row.compilation_id,
        manifest=row.manifest,
        created=row.created,
    )
