"""What is known of a rendered source without rendering it again: hash, size, token count, sketch.

The key holds everything the rendering depends on (source bytes, versions of steps and sketch, tokenizer), so an
entry is never wrong; losing one costs only time.
"""

import sqlite3
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from compiler.errors import CompileError

LOCK_SECONDS = 60.0
"""How long the file is waited for while another process writes."""


class Rendering(NamedTuple):
    hash: str
    """sha256 of the rendered UTF-8."""
    size: int
    tokens: int
    neutralised: tuple[str, ...]
    blank: bool
    sketch: bytes
    """See `compiler.sketch`."""


class Renderings(Protocol):
    """Safe to share between threads."""

    def get(self, key: str) -> Rendering | None: ...

    def put(self, key: str, rendering: Rendering) -> None: ...


class MemoryRenderings:
    """Bounded: the least recently used are forgotten."""

    def __init__(self, limit: int = 100_000):
        self._limit = limit
        self._known: OrderedDict[str, Rendering] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["MemoryRenderings"], tuple[int]]:
        """In another process it begins empty."""
        return MemoryRenderings, (self._limit,)

    def get(self, key: str) -> Rendering | None:
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            return known

    def put(self, key: str, rendering: Rendering) -> None:
        with self._lock:
            self._known[key] = rendering
            if len(self._known) > self._limit:
                self._known.popitem(last=False)


class FileRenderings:
    """A SQLite file that processes and compilations share. Every call raises `CompileError` where the file cannot be
    used."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._local = threading.local()
        self._recent = MemoryRenderings()
        self._run(
            "CREATE TABLE IF NOT EXISTS renderings (key BLOB PRIMARY KEY, hash TEXT, size INTEGER, tokens INTEGER,"
            " neutralised BLOB, blank INTEGER, sketch BLOB) WITHOUT ROWID"
        )

    def get(self, key: str) -> Rendering | None:
        known = self._recent.get(key)
        if known is None:
            query = "SELECT hash, size, tokens, neutralised, blank, sketch FROM renderings WHERE key = ?"
            for row in self._run(query, bytes.fromhex(key)):
                known = Rendering(row[0], row[1], row[2], tuple(orjson.loads(row[3])), bool(row[4]), row[5])
                self._recent.put(key, known)
        return known

    def put(self, key: str, rendering: Rendering) -> None:
        self._recent.put(key, rendering)
        r = rendering
        row = (bytes.fromhex(key), r.hash, r.size, r.tokens, orjson.dumps(r.neutralised), r.blank, r.sketch)
        self._run("INSERT OR IGNORE INTO renderings VALUES (?,?,?,?,?,?,?)", *row)

    def __reduce__(self) -> tuple[type["FileRenderings"], tuple[Path]]:
        return FileRenderings, (self.path,)

    def _run(self, sql: str, *values: bytes | str | int) -> list[Any]:
        try:
            return self._connection().execute(sql, values).fetchall()
        except sqlite3.DatabaseError as e:
            raise CompileError(
                f"{self.path}: {e}. It holds only what is found out again where it is missing: make room on its disk, "
                "or remove it while nothing is compiled"
            ) from e

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
        return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Of several that find a new file, one changes its mode; the others are refused at once, whatever their timeout."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)
