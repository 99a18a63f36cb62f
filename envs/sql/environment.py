"""The SQL environment: questions about a database, answered by a query."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from envs.blobs import Blob
from envs.environment import Site
from envs.errors import TaskError
from envs.score import Score, Submission
from envs.sql.catalog import Database, find_database
from envs.sql.dialect import KNOWN
from envs.sql.engine import Ask
from envs.sql.manifest import near
from envs.sql.order import orders
from envs.sql.pool import Pool
from envs.sql.reply import Failed, Rows
from envs.sql.scoring import SCORERS, VERSION, score_submission
from envs.sql.session import MAX_ANSWER_BYTES, MAX_ANSWER_ROWS, SqlSession
from envs.sql.settings import parse_settings
from envs.sql.tools import TOOLS
from envs.sql.world import SqlReference, SqlWorld
from envs.task import Reference, Task

SYSTEM_PROMPT = """\
You answer questions about a database by querying it. Look at the tables first (list_tables, describe_table, \
sample_rows), try queries with run_sql, and hand in the query whose result answers the question with answer. \
The result is judged as it is: return exactly the columns and rows that the question asks for, no more. \
The database is DuckDB, read-only."""


class SqlEnvironment:
    name = "sql"
    tools = TOOLS
    system_prompt = SYSTEM_PROMPT
    takes_text = False
    scorer = f"sql@{VERSION}"

    def __init__(self, site: Site) -> None:
        self._site = site
        settings = parse_settings(site.settings)
        self._pool = Pool(settings.workers, settings.idle_workers, settings.query_seconds, settings.memory)

    def prompt(self, task: Task) -> str:
        return f"{task.question}\n\nDatabase: {_world(task).database}"

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        world = _world(task)
        _check_dialect(task.dialect)
        database = find_database(self._site, world.database, world.version)
        pinned = world.model_copy(update={"version": database.version, "tables": self._tables(database)})
        task = task.model_copy(update={"world": pinned.model_dump(mode="json"), "group": task.group or world.database})
        return task, None if reference is None else self._materialised(task, database, reference)

    async def start(self, task: Task, owner: Mapping[str, str]) -> SqlSession:  # noqa: ARG002
        world = _world(task)
        database = find_database(self._site, world.database, world.version)
        return SqlSession(task, database, self._pool, self._site.blobs)

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:  # noqa: ARG002
        # A result may have 200,000 rows: comparing them takes seconds, which others need not wait for.
        return await asyncio.to_thread(score_submission, _reference(reference), submission)

    async def close(self) -> None:
        self._pool.close()

    def _tables(self, database: Database) -> dict[str, Blob]:
        missing = [name for name, blob in database.manifest.blobs.items() if not self._site.blobs.has(blob.hash)]
        if missing:
            raise TaskError(
                f"the tables {', '.join(missing)} of the database {database.name!r} are no longer stored; "
                f"load it again (`trajc tasks load-db`)"
            )
        return database.manifest.blobs

    def _materialised(self, task: Task, database: Database, reference: Reference) -> Reference:
        parsed = _reference(reference)
        if parsed.rows is not None:
            # Rows alone do not tell whether their order counts; the query that gave them does.
            says = "ordered" not in reference.data and orders(parsed.gold_sql, task.dialect or "duckdb")
            return Reference(data={**reference.data, "ordered": True}) if says else reference
        if not parsed.gold_sql.strip():
            raise TaskError("reference: neither gold_sql nor rows")
        ask = Ask(
            parsed.gold_sql,
            dialect=task.dialect,
            dialect_first=True,
            habits=False,
            max_rows=MAX_ANSWER_ROWS,
            max_bytes=MAX_ANSWER_BYTES,
            max_count=MAX_ANSWER_ROWS,
        )
        reply, _ = self._pool.run(database.path, ask)
        if isinstance(reply, Failed):
            raise TaskError(f"reference.gold_sql does not run on {database.name}: {reply.words}")
        if reply.more or reply.left:
            raise TaskError("reference.gold_sql: its result is larger than an answer may be")
        return Reference(data=_filled(parsed, reply).model_dump(mode="json"))


def _filled(reference: SqlReference, found: Rows) -> SqlReference:
    return reference.model_copy(
        update={
            "columns": tuple(name for name, _ in found.columns),
            "rows": tuple(tuple(row) for row in found.rows),
            "ordered": reference.ordered or orders(found.sql),
        }
    )


def _world(task: Task) -> SqlWorld:
    try:
        return SqlWorld.model_validate(task.world)
    except ValidationError as e:
        raise TaskError(_faults("world", e)) from None


def _reference(reference: Reference) -> SqlReference:
    try:
        parsed = SqlReference.model_validate(reference.data)
    except ValidationError as e:
        raise TaskError(_faults("reference", e)) from None
    if parsed.scorer not in SCORERS:
        known = ", ".join(sorted(SCORERS))
        raise TaskError(f"reference.scorer: unknown scorer {parsed.scorer!r}; known: {known}")
    if parsed.scorer != "values" and len({len(row) for row in parsed.rows or ()}) > 1:
        raise TaskError("reference.rows: the rows are of different lengths", field="reference.rows")
    return parsed


def _check_dialect(name: str | None) -> None:
    if name is not None and name not in KNOWN and name != "duckdb":
        close = near(name, KNOWN)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise TaskError(f"unknown dialect {name!r}{hint}; known: {', '.join(sorted(KNOWN))}", field="dialect")


def _faults(of: str, error: ValidationError) -> str:
    faults: list[Any] = list(error.errors())
    return "; ".join(f"{'.'.join([of, *map(str, fault['loc'])])}: {fault['msg']}" for fault in faults)
