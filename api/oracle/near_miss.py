"""A plausible wrong answer: another entity of the same kind."""

import re
from collections.abc import Iterable, Sequence

from api.oracle.chance import Chance
from api.oracle.search_words import names, words

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_OPPOSITES = {"yes": "no", "no": "yes", "true": "false", "false": "true"}


def near_miss(answers: Sequence[str], texts: Iterable[str], others: Iterable[str], chance: Chance) -> str:
    """Wrong for every one of `answers`: an opposite, a shifted number, a name out of `texts` (what was read),
    or another task's answer; never one that shares a word with a right one."""
    first = answers[0].strip()
    if opposite := _OPPOSITES.get(first.lower().rstrip(".")):
        return opposite
    if _NUMBER.search(first):
        return _shifted(first, chance)
    right = {word for answer in answers for word in words(answer)}
    read = [name for text in texts for name in names(text)]
    alike = [c for c in others if c[:1].isupper() == first[:1].isupper()]
    for candidates in (read if first[:1].isupper() else alike, alike, read):
        apart = list(dict.fromkeys(c for c in candidates if not right & set(words(c))))
        if apart:
            nearest = min(_distance(first, c) for c in apart)
            return chance.pick([c for c in apart if _distance(first, c) == nearest], "near miss")
    return "unknown"


def _distance(a: str, b: str) -> int:
    """In words: of names, those of one length are most often of one kind."""
    return abs(len(a.split()) - len(b.split()))


def _shifted(answer: str, chance: Chance) -> str:
    """The same words with the last number another one: `8 June 1951` -> `8 June 1948`."""
    *_, last = _NUMBER.finditer(answer)
    digits = last.group().replace(",", "")
    shift = chance.pick([-7, -3, 2, 3, 5, 11], "shift")
    value = float(digits) + shift
    value = value if value > 0 else float(digits) + abs(shift)
    decimals = len(digits.partition(".")[2])
    moved = f"{value:,.{decimals}f}" if "," in last.group() else f"{value:.{decimals}f}"
    return answer[: last.start()] + moved + answer[last.end() :]
