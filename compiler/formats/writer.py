"""The seam to formats: one writer for each config, handed every published example in order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from compiler.example import Example

ROW_GROUP_BYTES = 8 << 20
FILE_BYTES = 1 << 30
AHEAD = 8
"""Lines that wait to be written."""
WRITING = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "write_statistics": False}


class Writer(Protocol):
    def write(self, example: Example, prompt: str) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """One JSON object a line. A thread of its own makes and writes the lines, a few behind the caller."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "wb")  # noqa: SIM115
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
        self._file.write(orjson.dumps(row) + b"\n")

    def _write_line(self, line: bytes) -> None:
        self._file.write(line)

    def close(self) -> None:
        try:
            while self._pending:
                self._pending.popleft().result()
        finally:
            self._thread.shutdown()
            self._file.close()


class ParquetRows:
    """Files `<folder>/<stem>-00000.parquet`, each of about `FILE_BYTES` of raw rows at most.

    A thread of its own compresses and writes, one row group behind the caller.
    """

    def __init__(self, folder: Path, stem: str, schema: pa.Schema):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stem = stem
        self._schema = schema
        self._files = 0
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._group = 0
        self._file = 0
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def add(self, row: dict[str, Any], size: int) -> None:
        """`size`: about how many bytes the row has."""
        self._rows.append(row)
        self._group += size
        if self._group >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._pending is not None:
            self._pending.result()
        self._pending = self._thread.submit(self._write, self._rows, self._group)
        self._rows, self._group = [], 0

    def _write(self, rows: list[dict[str, Any]], size: int) -> None:
        if self._writer is None:
            path = self._folder / f"{self._stem}-{self._files:05d}.parquet"
            self._writer = pq.ParquetWriter(path, self._schema, **WRITING)
            self._files += 1
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))
        self._file += size
        if self._file >= FILE_BYTES:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._file = None, 0

    def close(self) -> None:
        try:
            self._flush()
            if self._pending is not None:
                self._pending.result()
        finally:
            self._thread.shutdown()
            self._end_file()
