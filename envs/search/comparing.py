"""When two short answers say the same: as text, as numbers with units, as dates, as yes or no.

The text form is SQuAD's (Rajpurkar et al. 2016: lower case, no punctuation, no articles, single spaces), with
accents folded and hyphens read as spaces.
"""

import re
import unicodedata
from collections import Counter

from envs.search.dates import parse_date
from envs.search.quantities import parse_quantity

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ACCENTS = re.compile(r"[\u0300-\u036f]")
_YES_NO = re.compile(r"(yes|no)\s*(?:[,.;:!—–-]|$)(?!.*\b(?:yes|no)\b)", re.IGNORECASE | re.DOTALL)
"""Followed by nothing or an explanation, which must not take it back; `No Doubt` is a band."""


def normalised(text: str) -> str:
    """What is kept beside words: a decimal point, a minus sign before a number, `+` and `#` after a letter (C++)."""
    text = unicodedata.normalize("NFKD", text.casefold())
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", text))
    text = re.sub(r"(?<=\d),(?=\d{3})|['’‘`]|(?<!\d)\.|\.(?!\d)", "", text)
    text = re.sub(r"(?<!\S)[-−](?=\d)", "minus ", text)
    text = re.sub(r"[^\w.+#]|_|(?<![a-z+#])[+#]+", " ", text)
    return " ".join(_ARTICLES.sub(" ", text).split()) or " ".join(text.split())


def f1(answer: str, gold: str) -> float:
    """Token F1 of SQuAD over the normalised texts, 0 to 1."""
    mine, theirs = normalised(answer).split(), normalised(gold).split()
    common = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * common / (len(mine) + len(theirs)) if common else 0.0


def same(answer: str, gold: str) -> bool:
    """Whether the answer says what the gold says."""
    mine, theirs = normalised(answer), normalised(gold)
    if mine == theirs:
        return bool(mine) or answer.strip() == gold.strip()
    if theirs in ("yes", "no"):
        said = _YES_NO.match(answer.strip())
        return said is not None and said[1].casefold() == theirs
    if day := parse_date(gold):
        return day == parse_date(answer)
    wanted, given = parse_quantity(gold), parse_quantity(answer)
    return wanted is not None and given is not None and wanted.agrees(given)
