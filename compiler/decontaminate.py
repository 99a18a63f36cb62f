"""Overlap of compiled text with evaluation sets: any run of n words in common, or a shorter item of theirs whole."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq

from compiler.errors import RecipeError
from compiler.recipe import Decontamination

IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_LETTERS = rf"[^\W_{IDEOGRAPHS}]+"
_WORD = re.compile(rf"[{IDEOGRAPHS}]|{_LETTERS}(?:_+{_LETTERS})*")
"""Scripts without spaces have a word for each sign. A name may hold `_`; around a word it is emphasis."""
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
"""Soft hyphens, joiners, marks of direction and the like: they part no word."""
_KNOWN_WORDS = 1_000_000
_PENDING = 4_000_000
"""Grams that wait to be sorted in among the others."""

Grams = np.ndarray[tuple[int], np.dtype[np.uint64]]
_NONE: Grams = np.zeros(0, dtype=np.uint64)


class Evaluation:
    """The n-grams of some evaluation files; of texts of fewer words, but at least `shortest`, all words at once.

    Memory: 8 bytes for each word of them.
    """

    def __init__(self, files: tuple[str, ...], n: int, shortest: int):
        self._words = Words()
        pending: dict[int, list[Grams]] = {}
        self._grams: dict[int, Grams] = {}
        waiting = 0
        for name in files:
            for text in _texts(Path(name)):
                words = self._words.of(text)
                length = min(n, len(words))
                if length >= min(shortest, n):
                    pending.setdefault(length, []).append(_grams(words, length))
                    waiting += len(words)
                if waiting > _PENDING:
                    self._sort_in(pending)
                    waiting = 0
        self._sort_in(pending)

    def _sort_in(self, pending: dict[int, list[Grams]]) -> None:
        for length, grams in pending.items():
            self._grams[length] = np.unique(np.concatenate([self._grams.get(length, _NONE), *grams]))
        pending.clear()

    def overlaps(self, text: str) -> bool:
        words = self._words.of(text)
        return any(_any_in(_grams(words, length), known) for length, known in self._grams.items())


class Words:
    """Words as numbers that depend on nothing but the word."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, text: str) -> Grams:
        plain = text if text.isascii() else _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
        return np.fromiter(map(self._number, _WORD.findall(plain.lower())), dtype=np.uint64)

    def _number(self, word: str) -> int:
        known = self._known.get(word)
        if known is None:
            if len(self._known) >= _KNOWN_WORDS:
                self._known.clear()
            digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            known = self._known[word] = int.from_bytes(digest)
        return known


def _grams(words: Grams, n: int) -> Grams:
    """One number for each run of n words."""
    count = max(len(words) - n + 1, 0)
    out = np.zeros(count, dtype=np.uint64)
    for i in range(n):
        out = out * np.uint64(0x9E3779B97F4A7C15) + words[i : i + count]
    return out


def _any_in(some: Grams, known: Grams) -> bool:
    """`known` is sorted."""
    at = np.searchsorted(known, some)
    return bool((known[np.minimum(at, len(known) - 1)] == some).any()) if len(known) else False


def load_evaluation(wanted: Decontamination) -> Evaluation:
    """Kept while the files stay as they are. Raises `RecipeError` naming the file."""
    try:
        stats = [Path(name).stat() for name in wanted.files]
    except OSError as e:
        raise RecipeError(f"decontamination.files: {e.filename} cannot be read: {e.strerror}") from e
    return _load(wanted, tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats))


@lru_cache(maxsize=2)
def _load(wanted: Decontamination, _stand: tuple[tuple[int, int, int], ...]) -> Evaluation:
    return Evaluation(wanted.files, wanted.words, wanted.shortest)


def _texts(path: Path) -> Iterator[str]:
    """Every string in every row; strings that hold JSON (MRCR's `prompt`) are opened. Plain text as it stands."""
    try:
        kind = path.suffix.lower()
        if kind == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=64):
                    for row in batch.to_pylist():
                        yield from _strings(row)
        elif kind == ".json":
            yield from _strings(orjson.loads(path.read_bytes()))
        elif kind in (".jsonl", ".ndjson"):
            with open(path, "rb") as lines:
                for line in lines:
                    if line.strip():
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
        if value.lstrip()[:1] in ("[", "{"):
            try:
                yield from _strings(orjson.loads(value))
            except orjson.JSONDecodeError:
                yield value
        else:
            yield value
