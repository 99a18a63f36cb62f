"""The canonical form on disk: Parquet, one row an example, with everything that `Example` holds."""

from collections.abc import Sequence
from itertools import accumulate, chain
from operator import attrgetter
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


def table(rows: Sequence[tuple[Example, str]]) -> pa.Table:
    """Examples, each with its prompt."""
    examples = [example for example, _ in rows]
    prompts = pa.array([prompt for _, prompt in rows], pa.string())
    columns = [prompts if f.name == "prompt" else _fields(examples, f) for f in SCHEMA]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _fields(things: Sequence[Any], field: pa.Field) -> pa.Array:
    return _column(list(map(attrgetter(field.name), things)), field.type)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Column by column, which takes half the time that rows of dictionaries take.

    Free-form mappings (step parameters, labels) become JSON text, so that they survive exactly.
    """
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        offsets = pa.array(accumulate(map(len, values), initial=0), pa.int32())
        things = list(chain.from_iterable(values))
        structs = pa.StructArray.from_arrays(
            [_fields(things, f) for f in kind.value_type], fields=list(kind.value_type)
        )
        return pa.ListArray.from_arrays(offsets, structs, type=kind)
    if values and isinstance(values[0], dict):
        values = list(map(_json, values))
    return pa.array(values, kind)


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


class CanonicalWriter(ParquetRows):
    """`canonical/<config>-00000.parquet`; names as `Portion` has them."""

    def __init__(self, folder: Path, portion: Portion):
        super().__init__(folder / "canonical", portion.stem, SCHEMA, table)

    def write(self, example: Example, prompt: str) -> None:
        self.add((example, prompt), len(prompt))
