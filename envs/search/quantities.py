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
_UNIT_NAMES = (
    "percent % per_cent|people persons inhabitants residents|years year|months month|weeks week|days day|"
    "hours hour h|minutes minute min|seconds second s|km kilometers kilometres kilometer kilometre|miles mile mi|"
    "m meters metres meter metre|feet foot ft|kg kilograms kilogram|pounds pound lb lbs|times|members member|"
    "episodes episode|seasons season|goals goal|points point|games game|songs song|albums album|"
    "dollars dollar $ usd|euros euro € eur|gbp £"
)
_UNITS = {name: names.split()[0] for names in _UNIT_NAMES.split("|") for name in names.split()}
_MAX_CHARACTERS = 200
_DIGITS = re.compile(r"(?P<sign>[$€£])?\s*(?P<digits>-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*(?P<rest>[^\d]*)$")


@dataclass(frozen=True)
class Quantity:
    value: Decimal
    unit: str | None

    def agrees(self, other: "Quantity") -> bool:
        """Equal values; a unit may be left out, but not be another. A bare year is not a count of anything."""
        if self.value != other.value:
            return False
        return self.unit == other.unit or (None in (self.unit, other.unit) and not 1000 <= self.value <= 2100)


def parse_quantity(text: str) -> Quantity | None:
    """`6,960`, `150 million people`, `$5.5 billion`, `twenty-one years`; None for anything else."""
    text = text.strip().strip(".").casefold()
    if len(text) > _MAX_CHARACTERS:
        return None
    if m := _DIGITS.fullmatch(text):
        value = Decimal(m["digits"].replace(",", ""))
        words, sign = m["rest"].replace("%", " % ").split(), m["sign"]
    else:
        words, sign = text.replace("-", " ").split(), None
        spoken = [w for w in words if w in _SMALL or w in _LARGE or w == "and"]
        if not spoken or words[: len(spoken)] != spoken or spoken[0] == "and":
            return None
        return _quantity(Decimal(_spoken(spoken)), words[len(spoken) :], None)
    while words and words[0] in _LARGE:
        value *= _LARGE[words.pop(0)]
    return _quantity(value, words, sign)


def _quantity(value: Decimal, words: list[str], sign: str | None) -> Quantity | None:
    name = sign or "_".join(words) or None
    if (sign and words) or (name is not None and name not in _UNITS):
        return None
    return Quantity(value, _UNITS[name] if name else None)


def _spoken(words: list[str]) -> int:
    total = current = 0
    for word in words:
        if word in _SMALL:
            current += _SMALL[word]
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _LARGE:
            total, current = total + max(current, 1) * _LARGE[word], 0
    return total + current
