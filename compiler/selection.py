"""Which built examples are published, and in which order: decided over the whole dataset, in key order.

First duplicates, then caps, then the mixture; an example is dropped by the first that meets it. What is left is
divided into train and validation where the recipe asks for it. The index lies in
a SQLite file of the temporary folder, so that memory does not grow with the dataset.
"""

import os
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import orjson

from compiler.decontaminate import IDEOGRAPHS
from compiler.drops import Drop, ExampleReason
from compiler.example import CONFIGS, Example
from compiler.recipe import NearDuplicates, Recipe
from compiler.sketch import similarity, word_sketch
from compiler.split import SIDES, Side, divide

MISSED = 0.001
"""Of the pairs that are just alike enough, at most so many are never compared."""

_WORD = re.compile(rf"[{IDEOGRAPHS}]|[^\W{IDEOGRAPHS}]+")

TABLES = """
CREATE TABLE entries (config TEXT, key TEXT, shard INTEGER, offset INTEGER, length INTEGER, trajectory TEXT,
    fingerprint TEXT, grp TEXT, answer TEXT, question TEXT, sources TEXT, units BLOB,
    sketch TEXT, turns_at INTEGER, turns INTEGER, reason TEXT, split TEXT);
CREATE TABLE drops (trajectory TEXT, stage TEXT, reason TEXT, words TEXT);
CREATE TABLE trajectories (id TEXT);
CREATE TABLE kept (fingerprint TEXT PRIMARY KEY, trajectory TEXT) WITHOUT ROWID;
CREATE TABLE bands (band TEXT, entry INTEGER, PRIMARY KEY (band, entry)) WITHOUT ROWID;
CREATE TABLE uses (kind TEXT, what TEXT, n INTEGER, PRIMARY KEY (kind, what)) WITHOUT ROWID;
"""


class Selection:
    """Merges shards. `decide` first, then `examples` and `drops` as often as wanted."""

    def __init__(self, shards: Sequence[Path], at: Path):
        self._shards = shards
        self.sides: dict[str, Side] = {}
        """By config, where the recipe asks for splits."""
        self._db = sqlite3.connect(at, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(TABLES)
        self._db.execute("BEGIN")
        for number, shard in enumerate(shards):
            self._load(number, shard)
        self._db.execute("CREATE INDEX by_key ON entries (config, key)")
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

    def _load(self, number: int, shard: Path) -> None:
        with open(shard / "index.jsonl", "rb") as lines:
            for e in map(orjson.loads, lines):
                self._db.execute(
                    "INSERT INTO entries VALUES (:config, :key, :shard, :offset, :length, :trajectory, :fingerprint,"
                    " :group, :answer, :question, :sources, :units, :sketch, :turns_at, :turns, NULL, NULL)",
                    {
                        **e,
                        "shard": number,
                        "sources": " ".join(e["sources"]),
                        "units": orjson.dumps(e["units"]),
                        "turns_at": e["turns"][0],
                        "turns": e["turns"][1],
                    },
                )
        with open(shard / "drops.jsonl", "rb") as lines:
            for d in map(orjson.loads, lines):
                self._drop(Drop(**d))
        with open(shard / "trajectories.txt") as ids:
            self._db.executemany("INSERT INTO trajectories VALUES (?)", ((line.rstrip("\n"),) for line in ids))

    def _drop(self, d: Drop) -> None:
        self._db.execute("INSERT INTO drops VALUES (?,?,?,?)", (d.trajectory, d.stage, d.reason, d.words))

    def decide(self, recipe: Recipe) -> None:
        self._db.execute("BEGIN")
        query = "SELECT rowid, config, trajectory, fingerprint, grp, answer, question, sources, sketch FROM entries"
        reader = self._db.cursor()
        for entry, config, trajectory, mark, group, answer, question, sources, sketch in reader.execute(
            f"{query} ORDER BY config, key"
        ):
            needs = sources.split(" ")
            bands = _bands_of(recipe.near_duplicates, config, answer, question, sketch)
            if twin := self._twin(mark):
                self._reject(entry, trajectory, "duplicate", f"same question and needed evidence as {twin}")
            elif near := self._near(recipe.near_duplicates, bands, question, sketch):
                self._reject(entry, trajectory, "near_duplicate", f"question and needed evidence much like {near}")
            elif group and self._full("group", f"{config} {group}", recipe.group_cap):
                self._reject(entry, trajectory, "group_cap", f"{group} has {recipe.group_cap} examples")
            elif full := [s for s in needs if self._full("source", s, recipe.source_cap)]:
                self._reject(entry, trajectory, "source_cap", f"{recipe.source_cap} examples need {full[0]}")
            else:
                uses = [("group", f"{config} {group}"), *(("source", s) for s in needs)]
                self._keep(entry, trajectory, mark, bands, uses)
        self._mix(recipe)
        if recipe.split is not None:
            self._divide(recipe.split.validation)
        self._db.execute("COMMIT")

    def _twin(self, fingerprint: str) -> str | None:
        row = self._db.execute("SELECT trajectory FROM kept WHERE fingerprint = ?", (fingerprint,)).fetchone()
        return row and str(row[0])

    def _near(self, wanted: NearDuplicates | None, bands: list[str], question: str, sketch: str) -> str | None:
        """The kept example that this one is a near duplicate of."""
        if wanted is None:
            return None
        words, mine = _words(question), bytes.fromhex(sketch)
        places = ",".join("?" * len(bands))
        alike = f"SELECT DISTINCT entry FROM bands WHERE band IN ({places})"
        query = f"SELECT rowid, question FROM entries WHERE rowid IN ({alike}) ORDER BY rowid"
        for entry, asked in self._db.execute(query, bands):
            # Questions first: examples of one database or page have one context, and there may be thousands of them.
            if _jaccard(words, _words(asked)) < wanted.question:
                continue
            other = self._db.execute("SELECT trajectory, sketch FROM entries WHERE rowid = ?", (entry,))
            trajectory, known = other.fetchone()
            if similarity(mine, bytes.fromhex(known)) >= wanted.context:
                return str(trajectory)
        return None

    def _full(self, kind: str, what: str, cap: int | None) -> bool:
        if cap is None:
            return False
        row = self._db.execute("SELECT n FROM uses WHERE kind = ? AND what = ?", (kind, what)).fetchone()
        return row is not None and row[0] >= cap

    def _keep(
        self, entry: int, trajectory: str, fingerprint: str, bands: list[str], uses: list[tuple[str, str]]
    ) -> None:
        self._db.execute("INSERT INTO kept VALUES (?, ?)", (fingerprint, trajectory))
        self._db.executemany("INSERT INTO bands VALUES (?, ?)", ((band, entry) for band in bands))
        self._db.executemany("INSERT INTO uses VALUES (?, ?, 1) ON CONFLICT (kind, what) DO UPDATE SET n = n + 1", uses)

    def _mix(self, recipe: Recipe) -> None:
        """The largest counts in the recipe's proportions; within a config the first in key order, which is random."""
        if not recipe.mixture:
            return
        weights = {CONFIGS[name]: weight for name, weight in recipe.mixture.items()}
        query = "SELECT rowid, trajectory FROM entries WHERE config = ? AND reason IS NULL ORDER BY key"
        there = "SELECT count(*) FROM entries WHERE config = ? AND reason IS NULL"
        counts = {config: self._db.execute(there, (config,)).fetchone()[0] for config in weights}
        scale = min(counts[config] / weight for config, weight in weights.items())
        for config in sorted(CONFIGS.values()):
            share = int(scale * weights.get(config, 0) + 1e-9)
            for entry, trajectory in self._db.cursor().execute(f"{query} LIMIT -1 OFFSET {share}", (config,)):
                self._reject(entry, trajectory, "mixture", f"the mixture takes {share} of {config}")

    def _divide(self, share: float) -> None:
        query = "SELECT rowid, units FROM entries WHERE config = ? AND reason IS NULL ORDER BY key"
        self._db.execute("UPDATE entries SET split = ? WHERE reason IS NULL", SIDES[:1])
        for config in sorted(CONFIGS.values()):
            rows = ((id, orjson.loads(units)) for id, units in self._db.cursor().execute(query, (config,)))
            side, validation = divide(self._db, rows, share)
            if side.clusters:
                self.sides[config] = side
                ids = ((id,) for id in validation)
                self._db.executemany(f"UPDATE entries SET split = '{SIDES[1]}' WHERE rowid = ?", ids)

    def _reject(self, entry: int, trajectory: str, reason: ExampleReason, words: str) -> None:
        self._db.execute("UPDATE entries SET reason = ? WHERE rowid = ?", (reason, entry))
        self._drop(Drop(trajectory=trajectory, stage="example", reason=reason, words=words))

    def examples(self) -> Iterator[tuple[Example, bytes]]:
        """What is published, by config, split and then key, each with its line of the baseline (empty where not asked).

        Its split is what the recipe asks for; the task's own where it asks for none.
        """
        query = "SELECT shard, offset, length, turns_at, turns, split FROM entries WHERE reason IS NULL"
        for shard, offset, length, turns_at, turns, split in self._db.execute(f"{query} ORDER BY config, split, key"):
            example = Example.model_validate_json(_part(self._shards[shard] / "examples.jsonl", offset, length))
            baseline = _part(self._shards[shard] / "turns.jsonl", turns_at, turns)
            yield example if split is None else example.model_copy(update={"split": split}), baseline

    def drops(self) -> Iterator[Drop]:
        query = "SELECT trajectory, stage, reason, words FROM drops ORDER BY trajectory, stage, reason"
        for trajectory, stage, reason, words in self._db.execute(query):
            yield Drop(trajectory=trajectory, stage=stage, reason=reason, words=words)

    def trajectories(self) -> Iterator[str]:
        yield from (row[0] for row in self._db.execute("SELECT id FROM trajectories ORDER BY id"))

    def count(self, table: str) -> int:
        """Rows of `trajectories` (selected) or `entries` (built)."""
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _part(path: Path, offset: int, length: int) -> bytes:
    """Opened each time: there may be more shards than a process may hold files open."""
    if not length:
        return b""
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), length, offset)


def _bands_of(wanted: NearDuplicates | None, config: str, answer: str, question: str, sketch: str) -> list[str]:
    """Two examples are compared where they have one of these in common."""
    if wanted is None:
        return []
    among = config if wanted.any_answer else f"{config} {answer}"
    if wanted.context:
        return _bands(among, sketch, wanted.context)
    words = "".join(f"{n:08x}" for n in word_sketch(_words(question)))
    return _bands(f"{among} question", words, wanted.question)


def _bands(among: str, sketch: str, share: float) -> list[str]:
    """Of two sketches with this share of equal bins some whole band is equal, but for `MISSED`. Empty bands tell
    nothing; of a sketch without any window the whole is one band."""
    bins = len(sketch) // 8
    size = next((n for n in (8, 4, 2) if (1 - share**n) ** (bins // n) <= MISSED), 1)
    width = 8 * size
    bands = [f"{among} {i} {sketch[i * width : (i + 1) * width]}" for i in range(bins // size)]
    return [band for band in bands if not band.endswith("f" * width)] or [f"{among} none"]


@lru_cache(maxsize=1024)  # enough for candidates that share one context; memory is not to grow with the dataset
def _words(question: str) -> frozenset[str]:
    return frozenset(_WORD.findall(unicodedata.normalize("NFKC", question).lower()))


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    both = len(a & b)
    return both / max(len(a) + len(b) - both, 1)
