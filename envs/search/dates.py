"""Dates as answers are written: `8 June 1951`, `June 8th, 1951`, `1951-06-08`, `June 1951`."""

import re
from datetime import date

_NAMES = (
    "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|september sept sep|"
    "october oct|november nov|december dec"
)
_MONTHS = {name: number for number, names in enumerate(_NAMES.split("|"), 1) for name in names.split()}
_MAX_CHARACTERS = 80


def parse_date(text: str) -> tuple[int, int, int] | tuple[int, int] | None:
    """(year, month, day) or (year, month). `06/08/1951` could be two days and is none."""
    if len(text) > _MAX_CHARACTERS:
        return None
    words = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text.casefold()))
    words = [w for w in words if w not in ("the", "of", "on", "in")]
    month = [_MONTHS[w] for w in words if w in _MONTHS]
    numbers = [int(w) for w in words if w.isdigit()]
    if len(words) != len(month) + len(numbers) or any(n > 9999 for n in numbers):
        return None
    if len(month) == 1:
        return _named_month(month[0], numbers)
    if re.fullmatch(r"\s*\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\s*", text):
        return _day(*numbers)
    if not month and len(numbers) == 3 and max(numbers[:2]) > 12 and numbers[2] > 31:
        first, second, year = numbers
        return _day(year, first, second) if second > 12 else _day(year, second, first)
    return None


def _named_month(month: int, numbers: list[int]) -> tuple[int, int, int] | tuple[int, int] | None:
    if len(numbers) == 1 and numbers[0] > 31:
        return numbers[0], month
    if len(numbers) != 2:
        return None
    return _day(max(numbers), month, min(numbers))


def _day(year: int, month: int, day: int) -> tuple[int, int, int] | None:
    try:
        date(year, month, day)
    except ValueError:
        return None
    return year, month, day
