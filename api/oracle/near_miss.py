"""A plausible wrong answer: another entity of the same kind."""

import re
from collections.abc import Iterable, Sequence

from api.oracle.chance import Chance

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_NAME = re.compile(r"[A-ZÀ-Ý][\w'’-]+(?: [A-ZÀ-Ý][\w'’-]+)*")
_OPPOSITES = {"yes": "no", "no": "yes", "true": "false", "false": "true"}


def near_miss(answers: Sequence[str], texts: Iterable[str], others: Iterable[str], chance: Chance) -> str:
    """Wrong for every one of `answers`: an opposite, a shifted number, a name out of `texts` (what was read),
    or another task's answer; never one that shares a word with a right one."""
    first = answers[0].strip()
    if opposite := _OPPOSITES.get(first.lower().rstrip(".")):
        return opposite
    if _NUMBER.search(first):
        return _shifted(first, chance)
    right = {word for answer in answers for word in _words(answer)}
    names = [name for text in texts for name in _NAME.findall(text)]
    for candidates in (names, list(others)):
        apart = list(dict.fromkeys(c for c in candidates if c[:1].isupper() and not right & set(_words(c))))
        if apart:
            return chance.pick(apart, "near miss")
    return "unknown"


def _shifted(answer: str, chance: Chance) -> str:
    """The same words with the last number another one: `8 June 1951` -> `8 June 1948`."""
    *_, last = _NUMBER.finditer(answer)
    digits = last.group().replace(",", "")
    shift = chance.pick([-7, -3, 2, 3, 5, 11], "shift")
    if "." in digits:
        moved = f"{float(digits) + shift:.{len(digits.split('.')[1])}f}"
    else:
        value = int(digits) + shift
        moved = str(value if value > 0 else int(digits) + 17)
        moved = f"{int(moved):,}" if "," in last.group() else moved
    return answer[: last.start()] + moved + answer[last.end() :]


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
