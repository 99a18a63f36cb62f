"""When two result cells count as equal: numbers, text, dates and truth values of one meaning, whatever their type.

Numbers are equal within a relative tolerance of 1e-6, or 1e-12 apart; two integers only when they are the same.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

TOLERANCE = 1e-6
NOISE = 1e-12
"""What a sum of fractions that should be 0 may be: no relative tolerance reaches 0."""
Cell = Any
"""None, a number (int or float) or a text."""
Table = list[tuple[Cell, ...]]

_DIGITS = 300
"""Longer texts are no numbers: an integer of more than 308 digits has no float to be compared with."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_SEVERAL = re.compile(r"[,\[\]{}]")
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00:00(?:\.0+)?(?:Z|[+-]00:?00)?")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)")
_TAIL = re.compile(r"^((?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d)(?:(\.\d*[1-9])0*|\.0+)?(?:Z|[+-]00(?::?00)?)?$")


def unify(value: Any) -> Cell:
    """One JSON value in the form that is compared: a text that is a plain number becomes it (databases differ in
    what they keep as text), true and false become 1 and 0, a midnight its date, a moment
    without its zone where that is UTC and without zeros at its end, a nested value its text."""
    if value is None:
        return None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return _whole(value)
    if isinstance(value, str):
        text = value.strip()
        if len(text) <= _DIGITS and _NUMBER.fullmatch(text):
            return _whole(int(text) if text.lstrip("-").isdigit() else float(text))
        if match := _MIDNIGHT.fullmatch(text):
            return match[1]
        return _TAIL.sub(r"\1\2", _MOMENT.sub(r"\1 \2", text))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_part(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(_part, value)) + "]"


def _part(value: Any) -> str:
    """Of a nested value: a fraction with the digits that survive its reckoning, a text in quotes where it could be
    taken for several."""
    cell = unify(value)
    if isinstance(cell, str) and isinstance(value, str) and _SEVERAL.search(cell):
        return f"'{cell}'"
    return format(cell, ".9g") if isinstance(cell, float) else str(cell)


def _whole(number: float) -> Cell:
    if isinstance(number, float):
        if not math.isfinite(number):
            return str(number)
        if number.is_integer() and abs(number) < 2**63:
            return int(number)
    return number


def unify_rows(rows: Iterable[Sequence[Any]]) -> Table:
    return [tuple(unify(value) for value in row) for row in rows]


def equal(left: Cell, right: Cell) -> bool:
    """Within the tolerance."""
    if isinstance(left, str) or isinstance(right, str) or left is None or right is None:
        return bool(left == right)
    return close(left, right)


def close(left: float, right: float) -> bool:
    if left == right:
        return True
    if isinstance(left, int) and isinstance(right, int):
        return False
    return abs(left - right) <= max(TOLERANCE * max(abs(left), abs(right)), NOISE)


def align(left: Table, right: Table) -> tuple[Table, Table]:
    """Both tables with numbers that are equal within the tolerance replaced by one of them, so that rows can be
    counted and looked up. A chain of close numbers becomes one: `verify` looks again afterwards."""
    numbers = sorted(
        {cell for table in (left, right) for row in table for cell in row if isinstance(cell, (int, float))}
    )
    stands_for: dict[float, float] = {}
    first = previous = None
    for number in numbers:
        if previous is None or not close(previous, number):
            first = number
        stands_for[number] = first if first is not None else number
        previous = number
    if all(number == chosen for number, chosen in stands_for.items()):
        return left, right

    def mapped(table: Table) -> Table:
        return [tuple(stands_for.get(c, c) if isinstance(c, (int, float)) else c for c in row) for row in table]

    return mapped(left), mapped(right)
