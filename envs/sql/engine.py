"""One database, ready for statements: habits, guard, dialects and the locked connection put together.

Runs inside a worker process. Everything it gives back is JSON, for the pipe to the parent.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import orjson

from envs.sql.connection import MANNERS, MEMORY, open_locked
from envs.sql.ddl import quoted
from envs.sql.dialect import (
    JOINING_PLUS,
    KNOWN,
    LOOSE_GROUPS,
    LOOSE_MOMENTS,
    LOOSE_NUMERALS,
    LOOSE_QUOTES,
    ROW_OF_EXTREME,
    like_as_there,
    loosen_groups,
    means_another_value,
    texts_in_double_quotes,
    translate,
)
from envs.sql.guard import Checked, Guard
from envs.sql.habits import Listing, Plan, Summary, answer_habit
from envs.sql.manifest import Manifest
from envs.sql.moments import moments_compared
from envs.sql.numerals import TEXT_REFUSED, numerals_as_there, texts_joined
from envs.sql.refusal import Refused, Unparsable
from envs.sql.values import converter, number, printed

CHUNK = 1000
MAX_WORDS = 2_000
_STEADY_SEED = 0.42
_TELLING = ("EXPLAIN ", "DESCRIBE ")
"""Statements that tell of tables without reading their rows."""
_NAMELESS = re.compile('Referenced column "')
_DATE_AND_TEXT = re.compile("Cannot compare values of type (DATE|TIMESTAMP|VARCHAR) and type (DATE|TIMESTAMP|VARCHAR)")
_PLUS_OF_TEXTS = re.compile(r"'\+\([^']*(VARCHAR|STRING_LITERAL)|\"\+\([^\"]*STRING_LITERAL|Could not convert string")
_UNGROUPED = re.compile("must appear in the GROUP BY clause")


@dataclass(frozen=True)
class Ask:
    """One statement for an engine."""

    sql: str
    dialect: str | None = None
    dialect_first: bool = False
    """Whether `sql` is known to be in `dialect` (a gold query); otherwise DuckDB's reading is tried first."""
    habits: bool = True
    """Whether SHOW, DESCRIBE and the like are answered; otherwise only queries are."""
    max_rows: int = 10_000
    max_bytes: int = 8 * 1024 * 1024
    max_count: int = 100_000
    """Rows are counted, beyond those kept, up to here."""


@dataclass(frozen=True)
class Mending:
    """What can be done about a query that runs in its own dialect's database and not here."""

    fits: re.Pattern[str]
    """DuckDB's words."""
    mend: Callable[[str], str]


class EngineBroken(Exception):
    """A statement hit a fault of DuckDB's own, after which it may refuse every other statement in this process."""


_ENDS = (duckdb.InternalException, duckdb.FatalException)


class Engine:
    """Owns the connection; each statement gets a cursor of its own."""

    def __init__(self, path: Path, manifest: Manifest, seconds: float = 30, memory: str = MEMORY) -> None:
        self._opener = partial(open_locked, path, seconds, memory)
        self._dialect: str | None = None
        self._opened: Any = None
        self._manifest = manifest
        self._guard = Guard(manifest)
        self._home = re.compile(rf'"?{re.escape(path.stem)}"?\.main\.')
        """The file's name, which DuckDB puts before tables: in quotes where it begins with a digit."""
        self._secrets = re.compile("|".join(re.escape(str(p)) for p in (path, path.parent, path.stem)))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def open(self, dialect: str | None) -> Any:
        """The connection with that dialect's manners. DuckDB opens a file once in a process, and its settings are
        locked: another dialect's manners need the database opened anew."""
        manners = dialect if dialect in MANNERS else None
        if self._opened is None or manners != self._dialect:
            self.close()
            self._opened = None
            self._opened, self._dialect = self._opener(dialect=manners), manners
        return self._opened

    def run(self, ask: Ask) -> bytes:
        """The reply as JSON bytes (see `envs.sql.reply.Reply`). Raises nothing that a statement can cause, except
        `MemoryError` and `EngineBroken`."""
        try:
            if ask.habits:
                habit = answer_habit(ask.sql, self._manifest)
                if isinstance(habit, Listing):
                    return _listing(habit)
                if isinstance(habit, Plan):
                    return self._first_that_runs(ask, habit.verb, habit.sql)
                if isinstance(habit, Summary):
                    checked = self._guard.check(f"SELECT * FROM {quoted(habit.relation.name)}")
                    return self._execute(checked, ask, f"SUMMARIZE {quoted(habit.relation.name)}")
            return self._first_that_runs(ask, "", ask.sql)
        except Refused as e:
            return _failure("refused", _cut(str(e)))
        except duckdb.OutOfMemoryException as e:
            raise MemoryError from e
        except _ENDS as e:
            raise EngineBroken from e
        except duckdb.Error as e:
            return _failure("error", self._words(e, ask.sql))

    def _first_that_runs(self, ask: Ask, verb: str, sql: str) -> bytes:
        """The readings of a statement one after the other; when none runs, the fault of the first that parsed."""
        faults: list[Exception] = []
        for reading in _readings(ask, sql):
            try:
                text = reading()
                return self._checked_run(text, ask, verb, note=text if text != sql else "")
            except (Refused, duckdb.Error) as e:
                faults.append(e)
                if isinstance(e, (duckdb.InterruptException, duckdb.OutOfMemoryException, *_ENDS)):
                    break
        ended = next((fault for fault in faults if isinstance(fault, _ENDS)), None)
        raise ended or next((fault for fault in faults if not isinstance(fault, Unparsable)), faults[0])

    def _checked_run(self, sql: str, ask: Ask, verb: str, note: str) -> bytes:
        checked = self._guard.check(sql)
        if (folded := like_as_there(checked.tree, ask.dialect)) is not None:
            checked, note = self._guard.check(folded), folded
        mendings = _mendings(ask.dialect, self._manifest)
        while True:
            try:
                return self._execute(checked, ask, f"{verb} {checked.sql}" if verb else checked.sql, note)
            except (duckdb.BinderException, duckdb.ConversionException) as e:
                mending = next((m for m in mendings if m.fits.search(str(e))), None)
                if mending is None:
                    raise
                mendings.remove(mending)
                note = mending.mend(checked.sql)
                checked = self._guard.check(note)

    def _execute(self, checked: Checked, ask: Ask, statement: str, note: str = "") -> bytes:
        cursor = self.open(ask.dialect).cursor()
        try:
            if checked.chancy:
                cursor.execute(f"SELECT setseed({_STEADY_SEED})")
            cursor.execute(statement)
            columns = [(self._home.sub("", column[0]), str(column[1])) for column in cursor.description]
            types = [kind for _, kind in columns]
            if statement == checked.sql and (exact := printed(types, statement)) is not None:
                try:
                    cursor.execute(exact)
                except duckdb.ParserException:  # a comment after the semicolon
                    cursor.execute(statement)
            kept, count, more, unkept = _fetch(cursor, types, ask)
        finally:
            cursor.close()
        if statement.startswith("EXPLAIN "):
            columns, kept = [("plan", "VARCHAR")], self._plan(kept)
            count = len(kept)
        tables = checked.reads
        listed = tuple(table.name for table in self._manifest.tables) if checked.catalog else ()
        if statement.startswith(_TELLING):
            tables, listed = (), tables
        head = orjson.dumps(
            {
                "ok": True,
                "columns": columns,
                "count": count,
                "more": more,
                "unkept": unkept,
                "tables": tables,
                "listed": listed,
                "sql": statement,
                "note": note,
                "query": statement == checked.sql,
            }
        )
        return head[:-1] + b',"rows":[' + b",".join(kept) + b"]}"

    def _plan(self, rows: list[bytes]) -> list[bytes]:
        """EXPLAIN's drawing, a row for each line, without the file's name before each table."""
        drawn = "\n".join(orjson.loads(row)[1].rstrip("\n") for row in rows)
        return [orjson.dumps([self._home.sub("", line)]) for line in drawn.splitlines()]

    def _words(self, error: duckdb.Error, sql: str) -> str:
        if isinstance(error, duckdb.InterruptException):
            return "the query ran out of time and was stopped"
        words = self._secrets.sub(self._manifest.database, self._home.sub("", str(error)))
        return _cut(words) + self._hint(words, sql)

    def _hint(self, words: str, sql: str) -> str:
        """The columns of the tables that the failed statement names, which DuckDB does not always tell."""
        if "Referenced column" not in words and "does not have a column" not in words:
            return ""
        quoted = re.search(r'Referenced column "([^"]+)" not found', words)
        text = f"\nText goes in single quotes: '{quoted[1]}'" if quoted and f'"{quoted[1]}"' in sql else ""
        named_here = [
            r for r in self._manifest.relations if re.search(rf"\b{re.escape(r.name)}\b", words, re.IGNORECASE)
        ]
        lines = [f"Columns of {r.name}: {', '.join(c.name for c in r.columns)}" for r in named_here[:4]]
        return text + "".join(f"\n{line}" for line in lines)


def _mendings(dialect: str | None, manifest: Manifest) -> list[Mending]:
    """Each is tried once."""
    loosened = partial(loosen_groups, row_of_extreme=dialect in ROW_OF_EXTREME)
    found = [Mending(_UNGROUPED, loosened)] if dialect in LOOSE_GROUPS else []
    if dialect in LOOSE_MOMENTS:
        found.append(Mending(_DATE_AND_TEXT, moments_compared))
    if dialect in LOOSE_QUOTES:
        found.append(Mending(_NAMELESS, lambda sql: texts_in_double_quotes(sql, manifest)))
    if dialect in JOINING_PLUS:
        found.append(Mending(_PLUS_OF_TEXTS, lambda sql: texts_joined(sql, manifest)))
    if dialect in LOOSE_NUMERALS:
        found.append(Mending(TEXT_REFUSED, lambda sql: numerals_as_there(sql, manifest)))
    return found


def _readings(ask: Ask, sql: str) -> list[Callable[[], str]]:
    as_it_is: Callable[[], str] = lambda: sql  # noqa: E731
    dialect = ask.dialect if ask.dialect in KNOWN else "mysql" if "`" in sql else None
    if dialect is None:
        return [as_it_is]
    translated: Callable[[], str] = lambda: translate(sql, dialect)  # noqa: E731
    first = ask.dialect_first or means_another_value(sql, dialect)
    return [translated, as_it_is] if first else [as_it_is, translated]


def _fetch(cursor: Any, types: list[str], ask: Ask) -> tuple[list[bytes], int, bool, int]:
    """Rows as JSON, the number counted, whether there are more still, and the bytes of the first row not kept."""
    convert = converter(types, number)
    kept: list[bytes] = []
    size = count = unkept = 0
    keeping = True
    while rows := cursor.fetchmany(CHUNK):
        count += len(rows)
        if keeping:
            for row in rows:
                text = orjson.dumps(convert(row))
                size += len(text) + 1
                if len(kept) >= ask.max_rows or size > ask.max_bytes:
                    keeping, unkept = False, len(text)
                    break
                kept.append(text)
        if count >= ask.max_count:
            more = len(rows) == CHUNK and bool(cursor.fetchmany(1))
            return kept, count, more, unkept
        if len(rows) < CHUNK:
            break
    return kept, count, False, unkept


def _listing(found: Listing) -> bytes:
    return orjson.dumps(
        {
            "ok": True,
            "columns": [(name, "VARCHAR") for name in found.columns],
            "count": len(found.rows),
            "more": False,
            "unkept": 0,
            "tables": [],
            "listed": found.tables,
            "sql": "",
            "note": "",
            "query": False,
            "rows": found.rows,
        }
    )


def _cut(words: str) -> str:
    return words if len(words) <= MAX_WORDS else words[:MAX_WORDS] + " ..."


def _failure(kind: str, words: str) -> bytes:
    return orjson.dumps({"ok": False, "kind": kind, "words": words})
