"""The canonical form on disk: Parquet, one row an example, with everything that `Example` holds."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from compiler.example import Example

STEP = pa.struct([("name", pa.string()), ("version", pa.int32()), ("params", pa.string())])
PIECE = pa.struct(
    [
        ("role", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("version", pa.string()),
        ("title", pa.string()),
        ("blob", pa.string()),
        ("encoding", pa.string()),
        ("steps", pa.list_(STEP)),
        ("rendered", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("tokens", pa.int64()),
        ("tier", pa.int32()),
        ("neutralised", pa.list_(pa.string())),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("config", pa.string()),
        ("trajectory", pa.string()),
        ("trajectory_hash", pa.string()),
        ("task", pa.string()),
        ("group", pa.string()),
        ("split", pa.string()),
        ("model", pa.string()),
        ("template", pa.string()),
        ("prompt", pa.string()),
        ("question", pa.string()),
        ("question_at", pa.list_(pa.int64())),
        ("answer", pa.string()),
        ("reasoning", pa.string()),
        ("ground_truth", pa.string()),
        ("answer_kind", pa.string()),
        ("context_length", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("target_tokens", pa.int64()),
        ("tokens", pa.int64()),
        ("pieces", pa.list_(PIECE)),
        ("labels", pa.string()),
        ("left_out", pa.string()),
    ]
)
ROW_GROUP_BYTES = 8 << 20
FILE_BYTES = 1 << 30
WRITING = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "write_statistics": False}


def row(example: Example, prompt: str) -> dict[str, Any]:
    """Free-form mappings (step parameters, labels) as JSON text, so that they survive exactly."""
    out = example.model_dump(exclude={"sketch"}) | {"prompt": prompt}
    for piece in out["pieces"]:
        for step in piece["steps"]:
            step["params"] = _json(step["params"])
    out["labels"] = _json(out["labels"])
    out["left_out"] = _json(out["left_out"])
    return out


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


class CanonicalWriter:
    """Files `canonical/<config>-00000.parquet`, each of about `FILE_BYTES` of prompts at most.

    A thread of its own compresses and writes, one row group behind the caller.
    """

    def __init__(self, folder: Path, config: str):
        self._folder = folder / "canonical"
        self._config = config
        self._files = 0
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._group = 0
        self._file = 0
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def write(self, example: Example, prompt: str) -> None:
        self._rows.append(row(example, prompt))
        self._group += len(prompt)
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
            path = self._folder / f"{self._config}-{self._files:05d}.parquet"
            self._writer = pq.ParquetWriter(path, SCHEMA, **WRITING)
            self._files += 1
        self._writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
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
