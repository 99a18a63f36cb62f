"""Overlap of compiled text with evaluation sets: any run of n words in common."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from compiler.errors import RecipeError
from compiler.recipe import Decontamination

_WORD = re.compile(r"\w+")


class Evaluation:
    """The n-grams of some evaluation files. Memory: about 100 bytes for each word of them."""

    def __init__(self, files: tuple[str, ...], n: int):
        self._n = n
        self._grams = {gram for name in files for text in _texts(Path(name)) for gram in _grams(text, n)}

    def overlaps(self, text: str) -> bool:
        return any(gram in self._grams for gram in _grams(text, self._n))


@lru_cache(maxsize=4)
def load_evaluation(wanted: Decontamination) -> Evaluation:
    """Raises `RecipeError` naming the file."""
    return Evaluation(wanted.files, wanted.words)


def _grams(text: str, n: int) -> Iterator[int]:
    words = _WORD.findall(text.lower())
    return (hash(tuple(words[i : i + n])) for i in range(len(words) - n + 1))


def _texts(path: Path) -> Iterator[str]:
    """Every string in every row; strings that hold JSON (MRCR's `prompt`) are opened. Plain text as it stands."""
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=64):
                    for row in batch.to_pylist():
                        yield from _strings(row)
        elif path.suffix in (".jsonl", ".json"):
            with open(path, "rb") as lines:
                for line in lines:
                    yield from _strings(orjson.loads(line))
        else:
            yield path.read_text()
    except (OSError, ValueError) as e:
        raise RecipeError(f"decontamination.files: {path} cannot be read: {e}") from e


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for v in value.values():
            yield from _strings(v)
    elif isinstance(value, list):
        for v in value:
            yield from _strings(v)
    elif isinstance(value, str):
        if value[:1] in "[{" and value:
            try:
                yield from _strings(orjson.loads(value))
            except orjson.JSONDecodeError:
                yield value
        else:
            yield value
