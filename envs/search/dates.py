"""Dates as answers are written: `8 June 1951`, `June 8th, 1951`, `1951-06-08`, `June 1951`, `June 8`."""

import re
from datetime import date

_NAMES = (
    "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|september sept sep|"
    "october oct|november nov|december dec"
)
_MONTHS = {name: number for number, names in enumerate(_NAMES.split("|"), 1) for name in names.split()}
_MAX_CHARACTERS = 80
_IDLE_WORDS = "the of on in ad ce monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun"
_LEFT_OUT = frozenset(_IDLE_WORDS.split())
_YEAR_FIRST = re.compile(
    r"\s*(\d{4})(?:[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:t[\d:.]+(?:z|[+-][\d:]+)?)?|-(\d\d)|年(\d{1,2})月)\s*", re.I
)
"""`1999.5` is a number."""

Day = tuple[int, int, int]
Month = tuple[int, int]


def parse_date(text: str) -> Day | Month | None:
    """(year, month, day), year 0 where none is said, or (year, month). `06/08/1951` could be two days and is none."""
    if len(text) > _MAX_CHARACTERS:
        return None
    if m := _YEAR_FIRST.fullmatch(text):
        return _day(int(m[1]), int(m[2]), int(m[3])) if m[3] else _month(int(m[1]), int(m[4] or m[5]))
    words = re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text.casefold()))
    words = [w for w in words if w not in _LEFT_OUT]
    month = [_MONTHS[w] for w in words if w in _MONTHS]
    numbers = [int(w) for w in words if w.isdecimal()]
    if len(words) != len(month) + len(numbers) or any(n > 9999 for n in numbers):
        return None
    if len(month) == 1:
        return _named_month(month[0], numbers)
    if not month and len(numbers) == 3 and max(numbers[:2]) > 12 and numbers[2] > 31:
        first, second, year = numbers
        return _day(year, first, second) if second > 12 else _day(year, second, first)
    return None


def _named_month(month: int, numbers: list[int]) -> Day | Month | None:
    if len(numbers) == 1:
        return _month(numbers[0], month) if numbers[0] > 31 else _day(0, month, numbers[0])
    if len(numbers) != 2:
        return None
    return _day(max(numbers), month, min(numbers))


def _month(year: int, month: int) -> Month | None:
    return (year, month) if 1 <= month <= 12 else None


def _day(year: int, month: int, day: int) -> Day | None:
    try:
        date(year or 2000, month, day)
    except ValueError:
        return None
    return year, month, day
