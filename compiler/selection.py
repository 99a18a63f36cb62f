"""Which built examples are published, and in which order: decided over the whole dataset, in key order.

The index lies in a SQLite file of the temporary folder, so that memory does not grow with the dataset.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from compiler.drops import Drop, ExampleReason
from compiler.example import Example


class Selection:
    """Merges shards. `decide` first, then `examples` and `drops` as often as wanted."""

    def __init__(self, shards: Sequence[Path], at: Path):
        self._shards = shards
        self._db = sqlite3.connect(at, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(
            "CREATE TABLE entries (config TEXT, key TEXT, shard INTEGER, offset INTEGER, length INTEGER,"
            " trajectory TEXT, fingerprint TEXT, grp TEXT, tokens INTEGER, reason TEXT)"
        )
        self._db.execute("CREATE TABLE drops (trajectory TEXT, stage TEXT, reason TEXT, words TEXT)")
        self._db.execute("CREATE TABLE trajectories (id TEXT)")
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
                    " :group, :tokens, NULL)",
                    {**e, "shard": number},
                )
        with open(shard / "drops.jsonl", "rb") as lines:
            for d in map(orjson.loads, lines):
                self._drop(Drop(**d))
        with open(shard / "trajectories.txt") as ids:
            self._db.executemany("INSERT INTO trajectories VALUES (?)", ((line.rstrip("\n"),) for line in ids))

    def _drop(self, d: Drop) -> None:
        self._db.execute("INSERT INTO drops VALUES (?,?,?,?)", (d.trajectory, d.stage, d.reason, d.words))

    def decide(self) -> None:
        """Of equal fingerprints the first in key order is kept."""
        self._db.execute("BEGIN")
        self._db.execute("CREATE TEMP TABLE kept (fingerprint TEXT PRIMARY KEY, trajectory TEXT) WITHOUT ROWID")
        rows = self._db.execute("SELECT rowid, trajectory, fingerprint FROM entries ORDER BY config, key").fetchall
        for rowid, trajectory, fingerprint in rows():
            twin = self._db.execute("SELECT trajectory FROM kept WHERE fingerprint = ?", (fingerprint,)).fetchone()
            if twin:
                self._reject(rowid, trajectory, "duplicate", f"same question and needed evidence as {twin[0]}")
            else:
                self._db.execute("INSERT INTO kept VALUES (?, ?)", (fingerprint, trajectory))
        self._db.execute("COMMIT")

    def _reject(self, rowid: int, trajectory: str, reason: ExampleReason, words: str) -> None:
        self._db.execute("UPDATE entries SET reason = ? WHERE rowid = ?", (reason, rowid))
        self._drop(Drop(trajectory=trajectory, stage="example", reason=reason, words=words))

    def examples(self) -> Iterator[Example]:
        """What is published, by config and then key."""
        files = [open(shard / "examples.jsonl", "rb") for shard in self._shards]  # noqa: SIM115
        try:
            query = "SELECT shard, offset, length FROM entries WHERE reason IS NULL ORDER BY config, key"
            for shard, offset, length in self._db.execute(query):
                files[shard].seek(offset)
                yield Example.model_validate_json(files[shard].read(length))
        finally:
            for file in files:
                file.close()

    def drops(self) -> Iterator[Drop]:
        query = "SELECT trajectory, stage, reason, words FROM drops ORDER BY trajectory, stage, reason"
        for trajectory, stage, reason, words in self._db.execute(query):
            yield Drop(trajectory=trajectory, stage=stage, reason=reason, words=words)

    def trajectories(self) -> Iterator[str]:
        yield from (row[0] for row in self._db.execute("SELECT id FROM trajectories ORDER BY id"))

    def selected(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM trajectories").fetchone()[0])

    def built(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM entries").fetchone()[0])
