"""Train and validation that share nothing which would tell one of the other.

Each example holds units (its repository, its database, its documents); examples with a unit in common hang together,
directly or through others, and such a cluster stands whole on one side.
"""

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from compiler.example import Example
from compiler.recipe_split import Split
from envs.frozen import Frozen

SIDES: tuple[Literal["train", "validation"], ...] = ("train", "validation")
"""In the order in which they are written."""


class Side(Frozen):
    """How one config was divided."""

    train: int
    validation: int
    wanted: int
    """Examples that the recipe wanted in validation."""
    clusters: int
    largest: int
    """Examples of the largest cluster."""

    @property
    def warning(self) -> str | None:
        if 2 * self.validation >= self.wanted:
            return None
        return (
            f"validation has {self.validation} of {self.wanted} wanted examples: of {self.train + self.validation}, "
            f"{self.largest} hang together by what they share, and stand on one side"
        )


def units_of(example: Example, wanted: Split | None) -> tuple[str, ...]:
    """What may stand on one side only."""
    if wanted is None:
        return ()
    if example.config != "search_agent":
        return (f"group {example.group}",)
    pieces = example.pieces if wanted.documents == "placed" else [p for p in example.pieces if p.role == "needed"]
    own = [f"task {example.task}", f"question {example.question}", *([f"group {example.group}"] * bool(example.group))]
    return (*own, *sorted({f"document {p.blob}" for p in pieces}))


def divide(
    db: sqlite3.Connection, rows: Iterable[tuple[int, Sequence[str]]], share: float
) -> tuple[Side, "array[int]"]:
    """`rows`: (row id, units), in an order that the seed decides. Returns the row ids of validation, rising.

    Clusters come in the order of their first rows, and are taken while they fit. Where none fits, the smallest is
    taken, unless it is more than half. Memory: 16 bytes for each row; the units lie in a table of `db`.
    """
    db.execute("CREATE TEMP TABLE held (unit TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID")
    hold = "INSERT INTO held VALUES (?, ?) ON CONFLICT (unit) DO UPDATE SET unit = unit RETURNING at"
    parents, ids = array("q"), array("q")
    for at, (id, units) in enumerate(rows):
        parents.append(at)
        ids.append(id)
        for unit in units:
            ((first,),) = db.execute(hold, (unit, at)).fetchall()
            a, b = _root(parents, first), _root(parents, at)
            parents[max(a, b)] = min(a, b)
    db.execute("DROP TABLE held")

    sizes = Counter(_root(parents, at) for at in range(len(parents)))
    wanted = max(round(share * len(ids)), 1)
    chosen = set(_fitting(sizes, wanted))
    if not chosen and sizes:
        smallest = min(sizes, key=lambda root: (sizes[root], root))
        chosen = {smallest} if 2 * sizes[smallest] <= len(ids) else set()
    validation = array("q", sorted(id for at, id in enumerate(ids) if _root(parents, at) in chosen))
    side = Side(
        train=len(ids) - len(validation),
        validation=len(validation),
        wanted=wanted,
        clusters=len(sizes),
        largest=max(sizes.values(), default=0),
    )
    return side, validation


def _fitting(sizes: Counter[int], wanted: int) -> Iterator[int]:
    taken, examples = 0, sizes.total()
    for root in sorted(sizes):
        if taken + sizes[root] <= min(wanted, examples - 1):
            taken += sizes[root]
            yield root


def _root(parents: "array[int]", at: int) -> int:
    while parents[at] != at:
        parents[at] = at = parents[parents[at]]
    return at
