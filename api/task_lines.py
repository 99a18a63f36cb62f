"""One line of a task file: the fields of `Task` and its `reference`, checked whole before anything is queued."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import orjson
from pydantic import ValidationError

from api.jsonl import Line
from api.problems import Problem
from envs.environment import Environment
from envs.errors import TaskError
from envs.task import Reference, Task
from rollout.runs import TaskRow


class TaskFault(Exception):
    """What is wrong with one task. `field` is empty where the whole line is."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(field, words)
        self.field, self.words = field, words

    def __str__(self) -> str:
        return f"field {self.field}: {self.words}" if self.field else self.words

    def at(self, line: int) -> Problem:
        return Problem(422, "bad-task", f"line {line}, {self}", line=line, field=self.field, words=self.words)


def parse_task(value: Any, environment: str | None = None) -> tuple[Task, Reference | None]:
    """`environment` fills in for tasks that name none. Raises `TaskFault`."""
    if not isinstance(value, dict):
        raise TaskFault("", f"a task is a JSON object, not {type(value).__name__}")
    fields = dict(value)
    reference = fields.pop("reference", None)
    if environment is not None:
        named = fields.setdefault("environment", environment)
        if named != environment:
            raise TaskFault("environment", f"the task is for {named!r}, the run for {environment!r}")
    try:
        task = Task.model_validate(fields)
    except ValidationError as e:
        raise _fault("", e, Task.model_fields) from None
    if reference is None:
        return task, None
    if not isinstance(reference, dict):
        raise TaskFault("reference", f"must be a JSON object, not {type(reference).__name__}")
    data = reference["data"] if set(reference) == {"data"} and isinstance(reference["data"], dict) else reference
    return task, Reference(data=data)


def parse_line(line: Line, environment: str | None = None) -> tuple[Task, Reference | None]:
    try:
        return parse_task(orjson.loads(line.data), environment)
    except orjson.JSONDecodeError as e:
        raise TaskFault("", f"not JSON: {e}").at(line.number) from None
    except TaskFault as e:
        raise e.at(line.number) from None


def read_tasks(
    lines: Iterable[Line], environment_of: Callable[[str], Environment], environment: str | None = None
) -> Iterator[TaskRow]:
    """Each line parsed, and pinned by its environment. Blocking. Raises `Problem` naming line and field, also where two
    tasks have one id."""
    with seen_ids() as first_of:
        for line in lines:
            task, reference = parse_line(line, environment)
            try:
                row = pin(task, reference, environment_of)
                if (first := first_of(task.id, line.number)) != line.number:
                    raise TaskFault("id", f"{task.id!r} is the id of line {first} too")
                yield row
            except TaskFault as e:
                raise e.at(line.number) from None


def inline_tasks(
    values: Sequence[Any], environment_of: Callable[[str], Environment], environment: str
) -> Iterator[TaskRow]:
    """The same for tasks inside a JSON body. Blocking. Raises `Problem` naming position and field."""
    seen: dict[str, int] = {}
    for position, value in enumerate(values):
        try:
            task, reference = parse_task(value, environment)
            if (first := seen.setdefault(task.id, position)) != position:
                raise TaskFault("id", f"{task.id!r} is the id of tasks.{first} too; samples run one task again")
            yield pin(task, reference, environment_of)
        except TaskFault as e:
            field = f"tasks.{position}" + (f".{e.field}" if e.field else "")
            raise Problem(422, "bad-task", f"{field}: {e.words}", field=field, words=e.words) from None


@contextmanager
def seen_ids() -> Iterator[Callable[[str, int], int]]:
    """Yields what gives the line on which an id stood first. On disk: files have any number of lines."""
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as c:
        for statement in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", _SEEN, "BEGIN"):
            c.execute(statement)

        def first_of(id: str, line: int) -> int:
            c.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (id, line))
            (first,) = c.execute("SELECT line FROM seen WHERE id = ?", (id,)).fetchone()
            return int(first)

        yield first_of


_SEEN = "CREATE TABLE seen (id TEXT PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID"


def at_least_one(rows: Iterable[TaskRow], way_out: str = "give at least one") -> Iterator[TaskRow]:
    """The rows. Raises `Problem` where there is none: a sealed run or a task set without a task is a mistake."""
    count = 0
    for row in rows:
        count += 1
        yield row
    if not count:
        raise Problem(422, "no-tasks", f"there is no task in it: {way_out}")


def pin(task: Task, reference: Reference | None, environment_of: Callable[[str], Environment]) -> TaskRow:
    """The task with its world's fingerprint filled in. Raises `TaskFault`."""
    try:
        return TaskRow(*environment_of(task.environment).pin(task, reference))
    except TaskError as e:
        words = str(e).removeprefix(e.field).removeprefix(":").strip()
        raise TaskFault(e.field, f"task {task.id!r}: {words}") from None


def _fault(prefix: str, error: ValidationError, fields: Iterable[str]) -> TaskFault:
    first = error.errors(include_url=False)[0]
    field = ".".join([*([prefix] if prefix else []), *(str(part) for part in first["loc"])])
    words = first["msg"]
    if first["type"] == "extra_forbidden":
        words = f"no such field; a task has {', '.join(_known(fields))}"
    return TaskFault(field, words)


def _known(fields: Iterable[str]) -> Sequence[str]:
    return sorted({*fields, "reference"})
