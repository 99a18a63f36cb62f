"""Tasks and what scores them, stored once by content; task sets name them in an order."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

import orjson
import sqlalchemy as sa

from envs.errors import TaskError
from envs.frozen import canonical_json
from envs.task import Limits, Reference, Task
from rollout.runs import TaskRow, TaskSet
from rollout.schema import references, task_set_rows, task_sets, tasks
from rollout.store_part import CHUNK, StorePart, chunked


class Staged:
    """Rows that are stored but not yet part of anything: a spool of their hashes, so that memory stays flat.

    The spool is a nameless file: a process that dies leaves nothing. Tasks that nothing refers to are invisible.
    """

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, task_hash: str, reference_hash: str | None) -> None:
        line = f"{task_hash} {reference_hash or ''}\n".encode()
        self._spool.write(line)
        self._digest.update(line)
        self.size += 1

    @property
    def hash(self) -> str:
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        """(task hash, reference hash) in order."""
        self._spool.seek(0)
        for line in self._spool:
            task_hash, _, reference_hash = line.decode().rstrip("\n").partition(" ")
            yield task_hash, reference_hash or None


class TaskSets(StorePart):
    def put_task_set(self, name: str, rows: Iterable[TaskRow]) -> TaskSet:
        """A new version of the named set, whole or not at all; the same rows again give the version there is."""
        with self._stage(rows) as staged, self.write() as c:
            newest = c.execute(_newest(name)).one_or_none()
            if newest is not None and newest.hash == staged.hash:
                return TaskSet(**newest._mapping)
            made = TaskSet(
                id=self.new_id("ts"),
                name=name,
                version=1 if newest is None else newest.version + 1,
                hash=staged.hash,
                size=staged.size,
                created=self.now(),
            )
            c.execute(task_sets.insert(), made.__dict__)
            for chunk in chunked(enumerate(staged)):
                values = [
                    {"task_set_id": made.id, "position": position, "task_hash": task, "reference_hash": reference}
                    for position, (task, reference) in chunk
                ]
                c.execute(task_set_rows.insert(), values)
            return made

    def task_sets(self) -> tuple[TaskSet, ...]:
        """The newest version of each, by name."""
        newest = sa.select(task_sets.c.name, sa.func.max(task_sets.c.version).label("version")).group_by(
            task_sets.c.name
        )
        of = newest.subquery()
        query = task_sets.select().join(of, (of.c.name == task_sets.c.name) & (of.c.version == task_sets.c.version))
        with self.read() as c:
            return tuple(TaskSet(**row._mapping) for row in c.execute(query.order_by(task_sets.c.name)))

    def task_set(self, name: str, version: int | None = None) -> TaskSet:
        """The newest version unless one is named. Raises `NotFound`."""
        query = _newest(name) if version is None else _newest(name).where(task_sets.c.version == version)
        with self.read() as c:
            row = c.execute(query).one_or_none()
            if row is None:
                wanted = name if version is None else f"{name} version {version}"
                raise self._missing(c, "task set", wanted, task_sets.c.name)
            return TaskSet(**row._mapping)

    def task_set_rows(self, name: str, version: int | None = None) -> Iterator[TaskRow]:
        """The set's rows in order, streamed. Raises `NotFound`."""
        of = self.task_set(name, version)
        after = -1
        while True:
            query = (
                sa.select(task_set_rows.c.position, tasks.c.body, references.c.body.label("reference"))
                .join(tasks, tasks.c.hash == task_set_rows.c.task_hash)
                .outerjoin(
                    references,
                    (references.c.task_hash == task_set_rows.c.task_hash)
                    & (references.c.hash == task_set_rows.c.reference_hash),
                )
                .where(task_set_rows.c.task_set_id == of.id, task_set_rows.c.position > after)
                .order_by(task_set_rows.c.position)
                .limit(CHUNK)
            )
            with self.read() as c:
                rows = c.execute(query).all()
            for row in rows:
                yield TaskRow(task_of(row.body), reference_of(row.reference))
            if len(rows) < CHUNK:
                return
            after = rows[-1].position

    def task(self, hash: str) -> Task:
        """Raises `NotFound`."""
        with self.read() as c:
            body = c.execute(sa.select(tasks.c.body).where(tasks.c.hash == hash)).scalar_one_or_none()
            if body is None:
                raise self._missing(c, "task", hash, tasks.c.hash)
        return task_of(body)

    def reference(self, task_hash: str) -> Reference | None:
        """The newest that was queued with this task; None where it came without."""
        query = (
            sa.select(references.c.body)
            .where(references.c.task_hash == task_hash)
            .order_by(references.c.created.desc(), references.c.hash)
            .limit(1)
        )
        with self.read() as c:
            return reference_of(c.execute(query).scalar_one_or_none())

    @contextmanager
    def _stage(
        self, rows: Iterable[TaskRow], environment: str | None = None, limits: Limits | None = None
    ) -> Iterator[Staged]:
        """Store the rows' tasks in short transactions, invisible until something refers to them.

        `limits` replace the tasks' own: a task is stored, and hashed, as it will be run.
        Raises `TaskError`, naming the row, where a task is of another environment.
        """
        with tempfile.TemporaryFile() as spool:
            staged = Staged(spool)
            for chunk in chunked(rows):
                for number, row in enumerate(chunk, staged.size + 1):
                    if environment is not None and row.task.environment != environment:
                        raise TaskError(
                            f"row {number}, task {row.task.id!r}: environment is {row.task.environment!r}, "
                            f"the run's is {environment!r}; queue it in a run of its own"
                        )
                if limits is not None:
                    chunk = [replace(row, task=row.task.model_copy(update={"limits": limits})) for row in chunk]
                self._store_tasks(chunk, staged)
            yield staged

    def _store_tasks(self, rows: list[TaskRow], staged: Staged) -> None:
        now = self.now()
        bodies: dict[str, dict[str, object]] = {}
        answers: dict[tuple[str, str], dict[str, object]] = {}
        for row in rows:
            body = canonical_json(row.task)
            hash = hashlib.sha256(body).hexdigest()
            environment, id = row.task.environment, row.task.id
            bodies[hash] = {"hash": hash, "id": id, "environment": environment, "body": body.decode(), "created": now}
            answer_hash = None
            if row.reference is not None:
                answer = canonical_json(row.reference)
                answer_hash = hashlib.sha256(answer).hexdigest()
                made = {"task_hash": hash, "hash": answer_hash, "body": answer.decode(), "created": now}
                answers[hash, answer_hash] = made
            staged.add(hash, answer_hash)
        with self.write() as c:  # in the order of their keys, so that two writers cannot wait for each other
            self.insert_new(c, tasks, [bodies[key] for key in sorted(bodies)])
            self.insert_new(c, references, [answers[key] for key in sorted(answers)])


def _newest(name: str) -> sa.Select[tuple[object, ...]]:
    return task_sets.select().where(task_sets.c.name == name).order_by(task_sets.c.version.desc()).limit(1)


def reference_of(body: str | None) -> Reference | None:
    return None if body is None else Reference.model_validate(orjson.loads(body))


def task_of(body: str) -> Task:
    return Task.model_validate(orjson.loads(body))
