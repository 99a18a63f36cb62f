"""Indexing a corpus beside the bare engine: 1,000,000 documents of about 100 words (TRAJC_BENCH_SCALE times that).

Both sides read the same JSONL file and end with a searchable index on disk. The bare side keeps title and text
as two fields under the engine's own English analysis, and nothing else.
"""

import atexit
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import tantivy

from benchmarks.run import row
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.indexing import index_corpus

WORDS_A_DOCUMENT = 100
VOCABULARY = 200_000
TURNS = 2
"""Turn by turn, so that both sides meet the same neighbours; the best of each counts."""
_BATCH = 10_000


def documents() -> int:
    return max(2_000, int(1_000_000 * float(os.environ.get("TRAJC_BENCH_SCALE", "1"))))


def vocabulary() -> np.ndarray[Any, Any]:
    """Made-up words, by rank: frequent ones are short, as in a language."""
    random = np.random.default_rng(1)
    syllables = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        size = 1 + min(4, len(words) // 80 + int(random.integers(0, 2)))
        words["".join(random.choice(syllables, size))] = None
    return np.array(list(words))


def write_documents(path: Path, count: int) -> None:
    """Words by Zipf's law with exponent 1.1, lengths about normal."""
    random, words = np.random.default_rng(2), vocabulary()
    weights = 1 / np.arange(1, VOCABULARY + 1) ** 1.1
    chances = np.cumsum(weights / weights.sum())
    with path.open("wb") as sink:
        for start in range(0, count, _BATCH):
            sizes = np.clip(random.normal(WORDS_A_DOCUMENT, 25, min(_BATCH, count - start)), 20, None).astype(int)
            text = words[np.minimum(np.searchsorted(chances, random.random(sizes.sum())), VOCABULARY - 1)]
            for number, of in enumerate(np.split(text, np.cumsum(sizes)[:-1]), start):
                line = {"id": f"doc-{number}", "title": " ".join(of[:4]), "text": " ".join(of)}
                sink.write(orjson.dumps(line) + b"\n")


@dataclass(frozen=True)
class Built:
    site: Site
    bare: Path
    ours_seconds: float
    bare_seconds: float


@cache
def built() -> Built:
    """Both indexes, made once for every benchmark of this process."""
    folder = Path(tempfile.mkdtemp(prefix="trajc-bench-search-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source = folder / "documents.jsonl"
    write_documents(source, documents())
    source.read_bytes()  # both sides find it in the page cache

    site = Site(folder / "home", MemoryBlobs())
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(TURNS):
        shutil.rmtree(folder / "bare", ignore_errors=True)
        shutil.rmtree(site.root, ignore_errors=True)
        begun = time.perf_counter()
        index_bare(source, folder / "bare")
        seconds["bare"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        index_corpus(source, "bench", site)
        seconds["ours"].append(time.perf_counter() - begun)
    return Built(site, folder / "bare", min(seconds["ours"]), min(seconds["bare"]))


def index_bare(source: Path, folder: Path) -> None:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("title", stored=True, tokenizer_name="en_stem")
    builder.add_text_field("text", stored=True, tokenizer_name="en_stem")
    folder.mkdir()
    writer = tantivy.Index(builder.build(), str(folder)).writer(256_000_000)
    with source.open("rb") as lines:
        for line in lines:
            writer.add_document(tantivy.Document(**orjson.loads(line)))
    writer.commit()
    writer.wait_merging_threads()


def run() -> list[dict[str, Any]]:
    made, count = built(), documents()
    return [
        row(
            f"search/indexing {count} documents",
            count / made.ours_seconds,
            count / made.bare_seconds,
            "documents/s",
            ">=0.7",
        )
    ]
