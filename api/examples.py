"""Examples of a published version, read from its canonical Parquet a page at a time."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from api.problems import Problem
from rollout.runs import Page

BRIEF = (
    "id",
    "config",
    "trajectory",
    "task",
    "group",
    "split",
    "model",
    "ground_truth",
    "answer_kind",
    "context_length",
    "prompt_tokens",
    "target_tokens",
    "tokens",
)
"""The columns of a list: all but the prompt and where its pieces came from."""


def list_examples(folder: Path, cursor: str | None, limit: int) -> Page[dict[str, Any]]:
    """In the order of the files. The cursor is the number of rows before the page."""
    start = _position(cursor)
    skipped = 0
    found: list[dict[str, Any]] = []
    for file, group, rows in _groups(folder):
        if skipped + rows <= start:
            skipped += rows
            continue
        table = file.read_row_group(group, columns=list(BRIEF))
        found += table.slice(max(0, start - skipped), limit + 1 - len(found)).to_pylist()
        skipped += rows
        if len(found) > limit:
            return Page(tuple(found[:limit]), str(start + limit))
    return Page(tuple(found))


def find_example(folder: Path, id: str) -> dict[str, Any]:
    """Whole: prompt, answer, and each piece with its blob and place. Raises `Problem`."""
    for file, group, _ in _groups(folder):
        ids = file.read_row_group(group, columns=["id"]).column("id").to_pylist()
        if id in ids:
            (row,) = file.read_row_group(group).slice(ids.index(id), 1).to_pylist()
            return _whole(row)
    raise Problem(404, "unknown-example", f"no example {id!r} in this version; list them at .../examples")


def _groups(folder: Path) -> Iterator[tuple[pq.ParquetFile, int, int]]:
    for path in sorted((folder / "canonical").glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                yield file, group, file.metadata.row_group(group).num_rows


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    for piece in row["pieces"]:
        for step in piece["steps"]:
            step["params"] = orjson.loads(step["params"])
    return {**row, "labels": orjson.loads(row["labels"]), "left_out": orjson.loads(row["left_out"])}


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not re.fullmatch("[0-9]{1,18}", cursor):
        raise Problem(400, "bad-cursor", f"cursor {cursor[:40]!r} is not one of ours: use `next` of the page before")
    return int(cursor)
