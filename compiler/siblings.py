"""What other trajectories of the same compilation met, as distractors for one that met less.

Two circles: other attempts at the same question (tier 3), and any trajectory over the same corpus, repository or
database (tier 4). The index lies in a SQLite file that is written once, ahead of the shards, and then only read.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import orjson

from compiler.candidate import Candidate
from compiler.evidence import met
from compiler.recipe import Recipe
from envs.evidence import SNIPPET, Evidence
from rollout.trajectory import Trajectory

Reach = Literal["none", "task", "world"]
TASK_TIER, WORLD_TIER = 3, 4

_KINDS = {"search": "document", "swe": "file", "sql": "table"}
_PLACES = 1 << 48

TABLES = """
CREATE TABLE tried (task BLOB, source TEXT, listed INTEGER, piece BLOB, PRIMARY KEY (task, source)) WITHOUT ROWID;
CREATE TABLE met (world BLOB, place INTEGER, source TEXT, piece BLOB, PRIMARY KEY (world, place, source)) WITHOUT ROWID;
"""
_TRIED = """INSERT INTO tried VALUES (?, ?, ?, ?) ON CONFLICT (task, source)
DO UPDATE SET listed = min(listed, excluded.listed), piece = min(piece, excluded.piece)"""
_MET = "INSERT INTO met VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET piece = min(piece, excluded.piece)"


def reach_of(recipe: Recipe, environment: str) -> Reach:
    reach: Reach = getattr(recipe, environment).siblings if environment in _KINDS else "none"
    return reach


def wants_siblings(recipe: Recipe) -> bool:
    return any(reach_of(recipe, name) != "none" for name in recipe.environments)


def gather(candidates: Iterable[Candidate], at: Path) -> None:
    """Write the index. It depends on the candidates and not on their order; memory does not grow with them."""
    with sqlite3.connect(at, isolation_level=None) as db:
        db.execute("PRAGMA journal_mode=OFF")
        db.execute("PRAGMA synchronous=OFF")
        db.executescript(TABLES)
        db.execute("BEGIN")
        for candidate in candidates:
            trajectory = candidate.trajectory
            task, world = _task(trajectory), _world(trajectory)
            for piece in _pieces(trajectory):
                kept = _kept(piece)
                db.execute(_TRIED, (task, piece.source, piece.how == "listed", kept))
                db.execute(_MET, (world, _place(piece.source), piece.source, kept))
        db.execute("COMMIT")
    db.close()


class Siblings:
    """Reads the index; may be handed to other processes."""

    def __init__(self, at: Path):
        self.at = at
        self._db = sqlite3.connect(f"file:{at}?mode=ro&immutable=1", uri=True, check_same_thread=False)

    def __reduce__(self) -> tuple[type["Siblings"], tuple[Path]]:
        return Siblings, (self.at,)

    def of(self, trajectory: Trajectory, reach: Reach, seed: int) -> Iterator[tuple[int, Evidence]]:
        """(tier, what was met), the trajectory's own among it: first what other attempts opened, then what they were
        listed, then the world's, from a place that seed and trajectory decide."""
        if reach == "none":
            return
        mark = f"{seed}|{trajectory.hash}"
        query = "SELECT listed, source, piece FROM tried WHERE task = ?"
        tried = self._db.execute(query, (_task(trajectory),)).fetchall()
        for _, _, piece in sorted(tried, key=lambda row: (row[0], _digest(f"{mark}|{row[1]}"))):
            yield TASK_TIER, _evidence(piece)
        if reach == "task":
            return
        known = {source for _, source, _ in tried}
        start = _place(mark)
        query = "SELECT source, piece FROM met WHERE world = ? AND place >= ? AND place < ? ORDER BY place, source"
        for low, high in ((start, _PLACES), (0, start)):
            for source, piece in self._db.execute(query, (_world(trajectory), low, high)):
                if source not in known:
                    yield WORLD_TIER, _evidence(piece)


def _pieces(trajectory: Trajectory) -> Iterator[Evidence]:
    """What could be evidence to somebody. Of files and tables the names alone count: each trajectory finds its own
    version of them in its own world, since another's may hold the answer."""
    kind = _KINDS.get(trajectory.task.environment)
    for _, piece in met(trajectory, Counter()):
        if piece.kind == kind and (piece.blob is not None if kind == "document" else piece.how == "opened"):
            yield piece


def _kept(piece: Evidence) -> bytes:
    """What does not depend on who met it."""
    plain = {"query": None, "rank": None, "score": None, "snippet": "", "how": "listed", "base": None}
    plain |= {} if piece.kind == "document" else {"blob": None, "version": "", "title": "", "licence": None}
    kept = piece.model_copy(update={**plain, "coverage": SNIPPET})
    return orjson.dumps(kept.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)


def _evidence(kept: bytes) -> Evidence:
    return Evidence.model_validate(orjson.loads(kept))


def _world(trajectory: Trajectory) -> bytes:
    """The corpus in this version; the repository or database in any."""
    task = trajectory.task
    names = [task.world.get(key) for key in ("corpus", "version", "repository", "database")]
    if task.environment != "search":
        names[1] = None
    return _digest(orjson.dumps([task.environment, *names]).decode())


def _task(trajectory: Trajectory) -> bytes:
    return _digest(f"{_world(trajectory).hex()}|{trajectory.task.id}|{trajectory.task.question}")


def _place(what: str) -> int:
    return int.from_bytes(_digest(what)[:6])


def _digest(what: str) -> bytes:
    return hashlib.sha256(what.encode("utf-8", "surrogatepass")).digest()
