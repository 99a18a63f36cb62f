"""Comparing two results: as bags or sets of rows, or in order, with columns in any arrangement."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from operator import itemgetter

from envs.sql.cells import NOISE, TOLERANCE, Cell, Table, align, equal

MAX_ARRANGEMENTS = 20_000
"""Steps in the search for a column arrangement; only results with many interchangeable columns come near it."""
MAX_STEPPED_ROWS = 40_000_000
"""Rows looked at in that search, all steps together."""


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
    """The same distinct rows within the tolerance itself, columns as they stand."""
    left, right = align(gold, given)
    if set(left) != set(right):
        return False
    # One close number after the other makes a chain whose ends are not close: each row needs an equal one.
    offered, wanted = _Heaps(right, given), _Heaps(left, gold)
    return all(map(offered.holds, left, gold)) and all(map(wanted.holds, right, given))


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
    budget = [max(len(wanted) ** 2, min(MAX_ARRANGEMENTS, MAX_STEPPED_ROWS // len(gold)))]
    nothing = [0] * len(gold)
    yield from _extend(wanted, offered, (nothing, nothing), (), in_order, budget)


def _extend(
    wanted: list[tuple[Cell, ...]],
    offered: list[tuple[Cell, ...]],
    kinds: tuple[list[int], list[int]],
    chosen: tuple[int, ...],
    in_order: bool,
    budget: list[int],
) -> Iterator[tuple[int, ...]]:
    """`kinds`: of both sides' rows, a number for what stands in the columns chosen so far."""
    depth = len(chosen)
    if depth == len(wanted):
        yield chosen
        return
    target = list(zip(kinds[0], wanted[depth], strict=True))
    counted = Counter(target)
    numbered = {pair: number for number, pair in enumerate(counted)}
    tried: set[tuple[Cell, ...]] = set()
    for position, column in enumerate(offered):
        if position in chosen or column in tried or budget[0] <= 0:
            continue
        tried.add(column)
        budget[0] -= 1
        found = list(zip(kinds[1], column, strict=True))
        if found == target or (not in_order and Counter(found) == counted):
            deeper = [numbered[pair] for pair in target], [numbered[pair] for pair in found]
            yield from _extend(wanted, offered, deeper, (*chosen, position), in_order, budget)


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
    offered = _Heaps(right, given)
    in_order = sorted(zip(left, gold, strict=True), key=lambda pair: _sortable(pair[1]))
    return all(offered.take(key, row) for key, row in in_order)


class _Heaps:
    """Rows in heaps of those whose aligned forms are the same, to look up one that is equal to a given row."""

    def __init__(self, keys: Table, rows: Table) -> None:
        found: defaultdict[tuple[Cell, ...], list[tuple[Cell, ...]]] = defaultdict(list)
        for key, row in zip(keys, rows, strict=True):
            found[key].append(row)
        self._heaps = {key: _Heap(heap) for key, heap in found.items()}

    def holds(self, key: tuple[Cell, ...], row: tuple[Cell, ...]) -> bool:
        return next(self._heaps[key].equals(row), None) is not None

    def take(self, key: tuple[Cell, ...], row: tuple[Cell, ...]) -> bool:
        """Whether there was one that was not taken yet; it is now."""
        return key in self._heaps and self._heaps[key].take(row)


class _Heap:
    """Sorted by the column that tells most of its rows apart, so that only near ones are looked at."""

    def __init__(self, rows: list[tuple[Cell, ...]]) -> None:
        numbers = [i for i, cell in enumerate(rows[0]) if isinstance(cell, (int, float))]
        by = max(numbers, key=lambda i: len({row[i] for row in rows}), default=None) if len(rows) > 1 else None
        self._rows = rows if by is None else sorted(rows, key=itemgetter(by))
        self._by = by
        self._numbers = [] if by is None else [row[by] for row in self._rows]
        self._free = list(range(len(rows)))
        """For each row, the first one from it on that is perhaps not taken."""

    def take(self, row: tuple[Cell, ...]) -> bool:
        found = next(self.equals(row, free=True), None)
        if found is not None:
            self._free[found] = found + 1
        return found is not None

    def equals(self, row: tuple[Cell, ...], free: bool = False) -> Iterator[int]:
        positions = self._unused(self._window(row)) if free else self._window(row)
        return (i for i in positions if all(map(equal, row, self._rows[i])))

    def _window(self, row: tuple[Cell, ...]) -> range:
        if self._by is None:
            return range(len(self._rows))
        number = row[self._by]
        reach = 2 * TOLERANCE * abs(number) + NOISE
        return range(bisect_left(self._numbers, number - reach), bisect_right(self._numbers, number + reach))

    def _unused(self, window: range) -> Iterable[int]:
        at = window.start
        while at < window.stop:
            seen = []
            while at < window.stop and self._free[at] != at:
                seen.append(at)
                at = self._free[at]
            for i in seen:
                self._free[i] = at
            if at < window.stop:
                yield at
                at += 1


def _sortable(row: tuple[Cell, ...]) -> list[tuple[int, float, str]]:
    return [
        (0, 0.0, "") if cell is None else (1, float(cell), "") if not isinstance(cell, str) else (2, 0.0, cell)
        for cell in row
    ]
