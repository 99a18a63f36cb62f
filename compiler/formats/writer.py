"""The seam to formats: one writer for each config, handed every published example in order.

Each file is hashed as it is written and synced when it ends, so that nobody has to read it again.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from compiler.example import Example

ROW_GROUP_BYTES = 8 << 20
FILE_BYTES = 1 << 30
SYNC_BYTES = 16 << 20
AHEAD = 8
"""Lines that wait to be written, or to be hashed."""
GROUPS_AHEAD = 2
SINK_BYTES = 4 << 20
"""Gathered before Python is called: for each call the thread that compresses would wait its turn among the others."""
WRITING = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "write_statistics": False}


class Written(NamedTuple):
    """A file whose bytes are on disk."""

    path: Path
    sha256: str
    size: int


class Writer(Protocol):
    def write(self, example: Example, prompt: str) -> None: ...

    def close(self) -> tuple[Written, ...]:
        """The files that it wrote."""
        ...


class HashedFile:
    """A new file, for one writer. Threads of its own hash it, and bring it to the disk bit by bit."""

    closed = False

    def __init__(self, path: Path):
        self._path = path
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115
        self._digest = hashlib.sha256()
        self._hashing = ThreadPoolExecutor(1)
        self._hashed: deque[Future[None]] = deque()
        self._syncing = ThreadPoolExecutor(1)
        self._synced: Future[None] | None = None
        self._size = 0
        self._unsynced = 0

    def write(self, data: bytes) -> int:
        while len(self._hashed) >= AHEAD:
            self._hashed.popleft().result()
        self._hashed.append(self._hashing.submit(self._digest.update, data))
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        self._size += len(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            self._wait_for_disk()
            self._synced = self._syncing.submit(os.fdatasync, self._file.fileno())
            self._unsynced = 0
        return len(data)

    def _wait_for_disk(self) -> None:
        """A disk's fault is told to one sync only, so none goes unheard."""
        if self._synced is not None:
            self._synced.result()

    def flush(self) -> None:
        pass

    def tell(self) -> int:
        return self._size

    def close(self) -> None:
        self.closed = True
        self._hashing.shutdown()
        self._syncing.shutdown()
        self._file.close()

    def end(self) -> Written:
        self._wait_for_disk()
        os.fsync(self._file.fileno())
        self.close()
        return Written(self._path, self._digest.hexdigest(), self._size)


class JsonLines:
    """One JSON object a line. A thread of its own makes and writes the lines, a few behind the caller."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = HashedFile(path)
        self._thread = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()

    def add(self, row: dict[str, Any]) -> None:
        self._submit(self._write_row, row)

    def copy(self, line: bytes) -> None:
        """A line that is one already."""
        self._submit(self._write_line, line)

    def _submit(self, write: Callable[[Any], None], what: Any) -> None:
        """What went wrong in the thread is raised here, or by `close`."""
        while len(self._pending) >= AHEAD:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(write, what))

    def _write_row(self, row: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def _write_line(self, line: bytes) -> None:
        self._file.write(line)

    def close(self) -> tuple[Written, ...]:
        try:
            while self._pending:
                self._pending.popleft().result()
            return (self._file.end(),)
        finally:
            self._thread.shutdown()
            self._file.close()


class ParquetRows:
    """Files `<folder>/<stem>-00000.parquet`, each of about `FILE_BYTES` of raw rows at most.

    A thread of its own compresses and writes, at most `GROUPS_AHEAD` row groups behind the caller.
    """

    def __init__(
        self, folder: Path, stem: str, schema: pa.Schema, table: Callable[[list[Any]], pa.Table] | None = None
    ):
        """`table` makes rows a table; without it they are dictionaries."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stem = stem
        self._schema = schema
        self._table = table or partial(pa.Table.from_pylist, schema=schema)
        self._writer: pq.ParquetWriter | None = None
        self._written: list[Written] = []
        self._rows: list[Any] = []
        self._group = 0
        self._file_size = 0
        self._thread = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()

    def add(self, row: Any, size: int) -> None:
        """`size`: about how many bytes the row has."""
        self._rows.append(row)
        self._group += size
        if self._group >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        table = self._table(self._rows)
        while len(self._pending) >= GROUPS_AHEAD:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._write, table, self._group))
        self._rows, self._group = [], 0

    def _write(self, table: pa.Table, size: int) -> None:
        if self._writer is None:
            path = self._folder / f"{self._stem}-{len(self._written):05d}.parquet"
            self._file = HashedFile(path)
            self._sink = pa.BufferedOutputStream(pa.PythonFile(self._file, mode="w"), SINK_BYTES)
            self._writer = pq.ParquetWriter(self._sink, self._schema, **WRITING)
        self._writer.write_table(table)
        self._file_size += size
        if self._file_size >= FILE_BYTES:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.flush()
            self._written.append(self._file.end())
        self._writer, self._file_size = None, 0

    def close(self) -> tuple[Written, ...]:
        try:
            self._flush()
            while self._pending:
                self._pending.popleft().result()
        finally:
            self._thread.shutdown()
            self._end_file()
        return tuple(self._written)
