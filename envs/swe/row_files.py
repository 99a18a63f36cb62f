"""Rows of a data set as dictionaries: JSON lines, a JSON list, Parquet, Arrow, or a folder of those.

A row that cannot be read is a fault beside the others, never the end of the file.
"""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from envs.errors import TaskError

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".parquet", ".arrow")
DESCRIBES = frozenset(("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"))
"""What the `datasets` library writes beside the rows."""


@dataclass(frozen=True)
class Row:
    file: str
    number: int
    """Line, or row, counted from 1."""
    values: Mapping[str, Any]
    fault: str = ""
    """Why there are no values."""

    @property
    def name(self) -> str:
        return str(self.values.get("instance_id") or f"{self.file}:{self.number}")


def read_rows(path: Path) -> Iterator[Row]:
    """Raises `TaskError` where nothing there can be read, naming what can."""
    for file in _files(path):
        name, lower = str(file), file.name.lower()
        try:
            if lower.endswith(".parquet"):
                with pq.ParquetFile(file) as table:
                    yield from _table(name, table.iter_batches(batch_size=256))
            elif lower.endswith(".arrow"):
                with pa.memory_map(str(file)) as memory, pa.ipc.open_stream(memory) as stream:
                    yield from _table(name, stream)
            elif lower.endswith(".json"):
                yield from _list(name, file.read_bytes())
            else:
                with gzip.open(file) if lower.endswith(".gz") else file.open("rb") as lines:
                    yield from _lines(name, lines)  # type: ignore[arg-type]
        except (pa.ArrowInvalid, gzip.BadGzipFile) as e:
            raise TaskError(f"{file}: it is not what its name says: {e}") from None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if not path.name.lower().endswith(SUFFIXES):
            raise TaskError(f"{path}: rows are read from {', '.join(SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise TaskError(f"{path}: no such file or folder")
    found = sorted(p for p in path.rglob("*") if p.is_file() and _holds_rows(p.relative_to(path)))
    if not found:
        raise TaskError(f"{path}: it holds no {', '.join(SUFFIXES)}")
    return found


def _holds_rows(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts) or path.name.startswith("cache-")
    return path.name.lower().endswith(SUFFIXES) and path.name not in DESCRIBES and not hidden


def _table(name: str, batches: Iterator[pa.RecordBatch]) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for values in batch.to_pylist():
            number += 1
            yield Row(name, number, values)


def _list(name: str, data: bytes) -> Iterator[Row]:
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise TaskError(f"{name}: not JSON: {e}") from None
    rows = values if isinstance(values, list) else [values]
    yield from (_row(name, number, row) for number, row in enumerate(rows, 1))


def _lines(name: str, lines: IO[bytes]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _row(name, number, orjson.loads(line))
            except orjson.JSONDecodeError as e:
                yield Row(name, number, {}, f"not JSON: {e}")


def _row(name: str, number: int, values: Any) -> Row:
    if isinstance(values, dict):
        return Row(name, number, values)
    return Row(name, number, {}, f"a row is a JSON object, not {type(values).__name__}")
