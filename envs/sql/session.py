"""One rollout's view of one database: tool calls become statements, replies become text and evidence."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from envs.blobs import BlobStore
from envs.evidence import FULL, SNIPPET, Evidence
from envs.score import Submission
from envs.sql.catalog import Database
from envs.sql.ddl import create_statement, quoted
from envs.sql.engine import Ask
from envs.sql.habits import named_relation
from envs.sql.manifest import Table, View
from envs.sql.pool import Pool
from envs.sql.refusal import UnknownTable
from envs.sql.render import MAX_BYTES, samples, show
from envs.sql.reply import Failed, Reply, Rows
from envs.sql.scoring import rows_text
from envs.sql.tools import Answer, DescribeTable, RunSql, SampleRows
from envs.task import Task
from envs.tool import MalformedCall, ToolResult, cut_middle

MAX_ANSWER_ROWS = 200_000
MAX_ANSWER_BYTES = 32 * 1024 * 1024
SAMPLED = 20
"""Rows looked at for a description's sample values."""


class SqlSession:
    """Holds nothing between calls: every statement gets a fresh cursor, so sessions cannot meet."""

    def __init__(self, task: Task, database: Database, pool: Pool, blobs: BlobStore) -> None:
        self._task = task
        self._database = database
        self._manifest = database.manifest
        self._pool = pool
        self._blobs = blobs
        self._tools: dict[str, Callable[[Any], Awaitable[ToolResult]]] = {
            "list_tables": self._list_tables,
            "describe_table": self._describe_table,
            "sample_rows": self._sample_rows,
            "run_sql": self._run_sql,
            "answer": self._answer,
        }

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        if tool not in self._tools:
            raise MalformedCall(f"there is no tool {tool!r}; tools: {', '.join(self._tools)}")
        return await self._tools[tool](arguments)

    async def submission(self) -> Submission | None:
        return None

    async def close(self) -> None:
        pass

    async def _list_tables(self, _: Any) -> ToolResult:
        lines = [f"{table.name} ({table.rows:,} rows)" for table in self._manifest.tables]
        lines += [f"{view.name} (view)" for view in self._manifest.views]
        text = f"Tables of {self._manifest.database}:\n" + "\n".join(lines)
        return await self._told(text, tuple(t.name for t in self._manifest.tables))

    async def _describe_table(self, arguments: DescribeTable) -> ToolResult:
        relation = self._relation(arguments.table)
        if isinstance(relation, ToolResult):
            return relation
        ask = Ask(f"SELECT * FROM {quoted(relation.name)} LIMIT {SAMPLED}", habits=False, max_count=SAMPLED)
        reply, seconds = await self._submit(ask)
        if isinstance(reply, Failed):
            return ToolResult(text=f"Error: {reply.words}", is_error=True, seconds=seconds)
        text = _description(relation, reply)
        tables = (relation.name,) if isinstance(relation, Table) else reply.tables
        return await self._told(text, tables, snippet=text, seconds=seconds)

    async def _sample_rows(self, arguments: SampleRows) -> ToolResult:
        relation = self._relation(arguments.table)
        if isinstance(relation, ToolResult):
            return relation
        sql = f"SELECT * FROM {quoted(relation.name)} LIMIT {arguments.n}"
        return await self._result(*await self._submit(Ask(sql, habits=False)), sql=sql)

    async def _run_sql(self, arguments: RunSql) -> ToolResult:
        ask = Ask(arguments.sql, dialect=self._task.dialect)
        return await self._result(*await self._submit(ask), sql=arguments.sql)

    async def _answer(self, arguments: Answer) -> ToolResult:
        ask = Ask(
            arguments.sql,
            dialect=self._task.dialect,
            max_rows=MAX_ANSWER_ROWS,
            max_bytes=MAX_ANSWER_BYTES,
            max_count=MAX_ANSWER_ROWS,
        )
        reply, seconds = await self._submit(ask)
        result = await self._result(reply, seconds, sql=arguments.sql)
        if isinstance(reply, Failed):
            return result.model_copy(
                update={"text": f"{result.text}\nThis is not handed in; answer with another query."}
            )
        if not reply.query:
            words = (
                "Error: an answer is a query whose result answers the question; this was none. Nothing is handed in."
            )
            return ToolResult(text=words, is_error=True, seconds=seconds)
        if reply.more or reply.left:
            words = f"Error: an answer may have at most {MAX_ANSWER_ROWS:,} rows and {MAX_ANSWER_BYTES >> 20} MiB."
            return result.model_copy(update={"text": f"{words} Nothing is handed in.", "is_error": True})
        submission = Submission(
            kind="rows",
            text=rows_text(reply.rows),
            columns=tuple(name for name, _ in reply.columns),
            rows=tuple(tuple(row) for row in reply.rows),
            sql=arguments.sql,
        )
        return result.model_copy(update={"submission": submission})

    async def _submit(self, ask: Ask) -> tuple[Reply, float]:
        return await self._pool.submit(self._database.path, ask, self._task.limits.tool_seconds)

    def _relation(self, name: str) -> Table | View | ToolResult:
        try:
            return named_relation(self._manifest, name.strip())
        except UnknownTable as e:
            return ToolResult(text=f"Error: {e}", is_error=True)

    async def _result(self, reply: Reply, seconds: float, sql: str) -> ToolResult:
        if isinstance(reply, Failed):
            return ToolResult(text=f"Error: {reply.words}", is_error=True, seconds=seconds)
        shown = show(reply)
        note = f"\nNote: run as DuckDB SQL: {reply.note}" if reply.note and reply.note != sql else ""
        evidence = (*self._opened(reply.tables, sql), *self._listed(reply.listed))
        whole = ToolResult(text=shown.text + note, seconds=seconds, evidence=evidence)
        if shown.complete:
            return whole
        return whole.model_copy(
            update={
                "raw": await self._kept(shown.whole),
                "shown": shown.ranges,
                "hidden_bytes": shown.hidden,
                "lost_bytes": shown.lost,
            }
        )

    async def _told(self, text: str, tables: tuple[str, ...], snippet: str = "", seconds: float = 0.0) -> ToolResult:
        """What the manifest tells of these tables, cut in the middle where there are very many names."""
        body, ranges, hidden = cut_middle(text, MAX_BYTES)
        told = ToolResult(text=body, seconds=seconds, evidence=self._listed(tables, snippet and body))
        if not hidden:
            return told
        return told.model_copy(update={"raw": await self._kept(text), "shown": ranges, "hidden_bytes": hidden})

    async def _kept(self, whole: str) -> Any:
        return await asyncio.to_thread(self._blobs.put, whole.encode())

    def _opened(self, tables: Iterable[str], sql: str) -> tuple[Evidence, ...]:
        return tuple(
            Evidence(
                kind="table",
                source=name,
                version=self._database.version,
                how="opened",
                coverage=FULL,
                blob=self._manifest.blobs.get(name),
                title=name,
                query=sql,
                licence=self._task.licence,
            )
            for name in tables
        )

    def _listed(self, tables: Iterable[str], snippet: str = "") -> tuple[Evidence, ...]:
        return tuple(
            Evidence(
                kind="table",
                source=name,
                version=self._database.version,
                how="listed",
                coverage=SNIPPET,
                blob=self._manifest.blobs.get(name),
                title=name,
                snippet=snippet,
                licence=self._task.licence,
            )
            for name in tables
        )


def _description(relation: Table | View, found: Rows) -> str:
    rows = f"{relation.rows:,} rows" if isinstance(relation, Table) else "a view"
    lines = [f"{relation.name}: {rows}", create_statement(relation), "Sample values:"]
    lines += [f"  {column.name}: {samples(found.rows, i)}" for i, column in enumerate(relation.columns)]
    return "\n".join(lines)
