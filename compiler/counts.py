"""Token counts remembered by (sha256 of the text, tokenizer), so that a text is tokenised once."""

import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol


class Counts(Protocol):
    """Safe to share between threads."""

    def get(self, tokenizer: str, text: str) -> int | None:
        """By the tokenizer's identity and the text's sha256."""
        ...

    def put(self, tokenizer: str, text: str, tokens: int) -> None: ...


class MemoryCounts:
    """Bounded: the least recently used are forgotten."""

    def __init__(self, limit: int = 200_000):
        self._limit = limit
        self._known: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tokenizer: str, text: str) -> int | None:
        with self._lock:
            known = self._known.get((tokenizer, text))
            if known is not None:
                self._known.move_to_end((tokenizer, text))
            return known

    def put(self, tokenizer: str, text: str, tokens: int) -> None:
        with self._lock:
            self._known[(tokenizer, text)] = tokens
            if len(self._known) > self._limit:
                self._known.popitem(last=False)


class FileCounts:
    """A SQLite file that processes and compilations share. Losing it loses nothing but time."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        self._recent = MemoryCounts()
        self._connection().execute(
            "CREATE TABLE IF NOT EXISTS counts (tokenizer TEXT, text BLOB, tokens INTEGER NOT NULL,"
            " PRIMARY KEY (tokenizer, text)) WITHOUT ROWID"
        )

    def get(self, tokenizer: str, text: str) -> int | None:
        known = self._recent.get(tokenizer, text)
        if known is None:
            row = (
                self._connection()
                .execute(
                    "SELECT tokens FROM counts WHERE tokenizer = ? AND text = ?", (tokenizer[:16], bytes.fromhex(text))
                )
                .fetchone()
            )
            if row is not None:
                known = int(row[0])
                self._recent.put(tokenizer, text, known)
        return known

    def put(self, tokenizer: str, text: str, tokens: int) -> None:
        self._recent.put(tokenizer, text, tokens)
        self._connection().execute(
            "INSERT OR IGNORE INTO counts VALUES (?, ?, ?)", (tokenizer[:16], bytes.fromhex(text), tokens)
        )

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            self._local.connection = connection
        return connection
