"""Comparing two results: as bags or sets of rows, or in order, with columns in any arrangement."""

from collections import Counter
from collections.abc import Iterator, Sequence

from envs.sql.cells import Cell, Table, align, equal

MAX_ARRANGEMENTS = 20_000
"""Steps in the search for a column arrangement; only results with many interchangeable columns come near it."""


def same_in_order(gold: Table, given: Table) -> bool:
    """Cell by cell, with some arrangement of the columns."""
    return any(
        all(all(map(equal, row, other)) for row, other in zip(gold, _arranged(given, order), strict=True))
        for order in arrangements(gold, given, in_order=True)
    )


def same_bag(gold: Table, given: Table) -> bool:
    """Each row as often, with some arrangement of the columns."""
    return any(_matched(gold, _arranged(given, order)) for order in arrangements(gold, given, in_order=False))


def same_set(gold: Table, given: Table) -> bool:
    """The same distinct rows, columns as they stand."""
    left, right = align(gold, given)
    return set(left) == set(right)


def arrangements(gold: Table, given: Table, in_order: bool) -> Iterator[tuple[int, ...]]:
    """Arrangements of the given columns under which the rows agree once close numbers are taken as one; each is a
    tuple of the given columns' positions. Columns that are the same throughout are tried once."""
    if len(gold) != len(given):
        return
    if not gold:
        yield ()
        return
    if len(gold[0]) != len(given[0]):
        return
    left, right = align(gold, given)
    wanted, offered = list(zip(*left, strict=True)), list(zip(*right, strict=True))
    budget = [MAX_ARRANGEMENTS]
    yield from _extend(wanted, offered, (), in_order, budget)


def _extend(
    wanted: list[tuple[Cell, ...]],
    offered: list[tuple[Cell, ...]],
    chosen: tuple[int, ...],
    in_order: bool,
    budget: list[int],
) -> Iterator[tuple[int, ...]]:
    depth = len(chosen)
    if depth == len(wanted):
        yield chosen
        return
    target = _prefix(wanted, range(depth + 1), in_order)
    tried: set[tuple[Cell, ...]] = set()
    for position, column in enumerate(offered):
        if position in chosen or column in tried or budget[0] <= 0:
            continue
        tried.add(column)
        budget[0] -= 1
        if _prefix(offered, (*chosen, position), in_order) == target:
            yield from _extend(wanted, offered, (*chosen, position), in_order, budget)


def _prefix(columns: list[tuple[Cell, ...]], picked: Sequence[int], in_order: bool) -> object:
    rows = zip(*(columns[i] for i in picked), strict=True)
    return list(rows) if in_order else Counter(rows)


def _arranged(rows: Table, order: tuple[int, ...]) -> Table:
    return [tuple(row[i] for i in order) for row in rows] if order else rows


def _matched(gold: Table, given: Table) -> bool:
    """Whether the rows pair up one to one within the tolerance itself, chains of close numbers not merged."""
    return all(
        all(map(equal, row, other))
        for row, other in zip(sorted(gold, key=_sortable), sorted(given, key=_sortable), strict=True)
    ) or _paired_greedily(gold, given)


def _paired_greedily(gold: Table, given: Table) -> bool:
    left, right = align(gold, given)
    waiting: dict[tuple[Cell, ...], list[tuple[Cell, ...]]] = {}
    for key, row in zip(right, given, strict=True):
        waiting.setdefault(key, []).append(row)
    for key, row in zip(left, gold, strict=True):
        candidates = waiting.get(key, [])
        found = next((i for i, other in enumerate(candidates) if all(map(equal, row, other))), None)
        if found is None:
            return False
        candidates.pop(found)
    return True


def _sortable(row: tuple[Cell, ...]) -> list[tuple[int, float, str]]:
    return [
        (0, 0.0, "") if cell is None else (1, float(cell), "") if not isinstance(cell, str) else (2, 0.0, cell)
        for cell in row
    ]
