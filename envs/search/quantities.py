"""Numbers with units as answers are written: `6,960`, `$5.5 billion`, `twenty-one years`, `40 %`."""

import re
from dataclasses import dataclass
from decimal import Decimal

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_ONES.split())}
_SMALL |= {word: 10 * n for n, word in enumerate(_TENS.split(), 2)}
_LARGE = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SHORT = {"mn": 10**6, "bn": 10**9, "tn": 10**12}
_SHORT_OF_MONEY = _SHORT | {"k": 1000, "m": 10**6, "b": 10**9}
_UNIT_NAMES = (
    "percent % per_cent pct|people persons inhabitants residents|years year|months month|weeks week|days day|"
    "hours hour h|minutes minute min|seconds second s|km kilometers kilometres kilometer kilometre|miles mile mi|"
    "m meters metres meter metre|feet foot ft|kg kilograms kilogram|pounds pound lb lbs|times|members member|"
    "episodes episode|seasons season|goals goal|points point|games game|songs song|albums album|"
    "dollars dollar $ us$ usd us_dollars us_dollar|euros euro € eur|gbp £ pounds pound|yen ¥ jpy"
)
_UNITS: dict[str, frozenset[str]] = {}
"""What a name can mean: `pounds` are money or weight."""
for _names in _UNIT_NAMES.split("|"):
    for _name in _names.split():
        _UNITS[_name] = _UNITS.get(_name, frozenset()) | {_names.split()[0]}
_MAX_CHARACTERS = 200
_ABOUT = re.compile(r"(?:about|approximately|approx\.?|around|roughly|circa)\s+|[~≈]\s*")
_DIGITS = re.compile(
    r"(?P<sign>(?:us)?\$|[€£¥])?\s*"
    r"(?P<digits>-?(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+|\d+)(?:\.\d+)?)"
    r"\s*(?P<rest>[^\d]*)$"
)
POINT = re.compile(r"(?<![\w.])\.(?=\d)")
"""At the beginning of a number (`.5`), where its zero is left out."""
_SPACES = re.compile(r"[,\s]")


@dataclass(frozen=True)
class Quantity:
    value: Decimal
    units: frozenset[str] = frozenset()
    """What its unit may be; none where none is written."""
    like_a_year: bool = False
    """Written as years are: four digits, none apart."""

    def agrees(self, other: "Quantity") -> bool:
        """Equal values; a unit may be left out, but not be another. A bare year is not a count of anything."""
        if self.value != other.value:
            return False
        if self.units and other.units:
            return bool(self.units & other.units)
        return self.units == other.units or not (self.like_a_year and other.like_a_year)


def parse_quantity(text: str) -> Quantity | None:
    """`6,960`, `150 million people`, `$5.5 billion`, `twenty-one years`; None for anything else."""
    text = POINT.sub("0.", text.strip()).strip(".").casefold().replace("−", "-")
    if len(text) > _MAX_CHARACTERS:
        return None
    if about := _ABOUT.match(text):
        text = text[about.end() :]
    if m := _DIGITS.fullmatch(text):
        return _written(m["sign"], m["digits"], m["rest"].replace("%", " % ").split())
    negative = re.match(r"(?:minus|negative)\s+", text)
    words = re.sub(r"^an?\s+(?=hundred|thousand|\w+illion)", "one ", text[negative.end() if negative else 0 :])
    parts = words.replace("-", " ").split()
    count = next((n for n, w in enumerate(parts) if w not in _SMALL and w not in _LARGE and w != "and"), len(parts))
    value = _spoken(parts[:count])
    return None if value is None else _quantity(Decimal(-value if negative else value), parts[count:], None)


def _written(sign: str | None, digits: str, words: list[str]) -> Quantity | None:
    value, short = Decimal(_SPACES.sub("", digits)), _SHORT_OF_MONEY if sign else _SHORT
    if words and words[0] in short:
        value *= short[words.pop(0)]
    while words and words[0] in _LARGE:
        value *= _LARGE[words.pop(0)]
    return _quantity(value, words, sign, like_a_year=digits.isdigit() and 1000 <= value <= 2100)


def _quantity(value: Decimal, words: list[str], sign: str | None, like_a_year: bool = False) -> Quantity | None:
    named = [_UNITS.get(name) for name in (sign, "_".join(words)) if name]
    if None in named:
        return None
    units = [unit for unit in named if unit]
    if len(units) == 2 and not units[0] & units[1]:
        return None
    return Quantity(value, units[0] if units else frozenset(), like_a_year)


def _spoken(words: list[str]) -> int | None:
    """A number as English says it, or a year as two of them (`nineteen eighty-four`); None for what is neither."""
    if (whole := _whole(words)) is not None:
        return whole
    for cut in range(1, len(words)):
        century, year = _whole(words[:cut]), _whole(words[cut:])
        if century is not None and year is not None and 10 <= century <= 20 and 10 <= year <= 99:
            return century * 100 + year
    return None


def _whole(words: list[str]) -> int | None:
    total = current = 0
    scale, after = 10**15, ""
    for word in words:
        if word == "and":
            if after not in _LARGE:
                return None
        elif word in _SMALL:
            value, below = _SMALL[word], current % 100
            of_tens = below >= 20 and below % 10 == 0 and 0 < value < 10
            if (below and not of_tens) or (value == 0 and len(words) > 1):
                return None
            current += value
        elif word == "hundred":
            if current >= 100 or (current == 0 and after):
                return None
            current = max(current, 1) * 100
        else:
            if _LARGE[word] >= scale or (current == 0 and after):
                return None
            scale = _LARGE[word]
            total, current = total + max(current, 1) * scale, 0
        after = word
    return None if after in ("", "and") else total + current
