"""The canonical form on disk: Parquet, one row an example, with everything that `Example` holds."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from compiler.example import Example
from compiler.formats.portion import Portion
from compiler.formats.writer import ParquetRows

STEP = pa.struct([("name", pa.string()), ("version", pa.int32()), ("params", pa.string())])
PIECE = pa.struct(
    [
        ("role", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("version", pa.string()),
        ("title", pa.string()),
        ("licence", pa.string()),
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
ASKED = pa.struct(
    [
        ("by", pa.string()),
        ("view", pa.string()),
        ("source", pa.string()),
        ("right", pa.int64()),
        ("of", pa.int64()),
        ("cut", pa.int64()),
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
        ("asked", pa.list_(ASKED)),
        ("labels", pa.string()),
        ("left_out", pa.string()),
    ]
)


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


class CanonicalWriter(ParquetRows):
    """`canonical/<config>-00000.parquet`; names as `Portion` has them."""

    def __init__(self, folder: Path, portion: Portion):
        super().__init__(folder / "canonical", portion.stem, SCHEMA)

    def write(self, example: Example, prompt: str) -> None:
        self.add(row(example, prompt), len(prompt))
