"""When two short answers say the same: as text, as numbers with units, as dates, as yes or no.

The text form is SQuAD's (Rajpurkar et al. 2016: lower case, no punctuation, no articles, single spaces), with
accents folded and hyphens read as spaces.
"""

import re
import unicodedata
from collections import Counter

from envs.search.dates import parse_date
from envs.search.quantities import POINT, parse_quantity

_ARTICLES = frozenset({"a", "an", "the"})
_ACCENTS = re.compile(
    r"[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c7\u0640\u064b-\u0652\u0670\u20d0-\u20ff\ufe00-\ufe0f]"
)
"""Of Latin, Greek and Cyrillic letters, Hebrew points, Arabic vowel marks. In other scripts marks are letters."""
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "þ": "th", "æ": "ae", "œ": "oe"})
_RAISED = re.compile(r"(?<=\d)(?=[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u207b\u2150-\u215e])")
"""Before an exponent or a fraction, which would become digits like those before it."""
_MINUS = re.compile(r"(?<![\w.)\]%−-])[-−](?=\.?\d)|(?<=(?<!\w)[a-z])[-−](?![\w−-])")
"""Before a number, or after a letter that stands alone (a blood group, a mark)."""
_INITIALS = re.compile(r"(?<=(?<!\w)[^\W\d_])(?:\.\s*|\s+)(?=[^\W\d_](?!\w))")
"""Between letters that stand alone: `J. K.`, `J K` and `J.K.` are one."""
_DROPPED = re.compile(r"[^\w.+#]|_|(?<![a-z+#])[+#]+")
_SIGNS = re.compile(r"[$€£¥<>≤≥](?=\s*[-−]?\d)|(?<=\d)\s*[$€£¥%]")
_YES_NO = re.compile(
    r"[*_\"'“]*(yes|no)[*_\"'”]*(?:\s*(?:[,;:!?)(–—]|\.(?!\s*\d)|-(?!\w)|$)|\s+(?:both|they|it|he|she|there|because|since)\b)"
    r"(?!.*\b(?:yes|no)\s*(?:[,.;:!?)]|$))",
    re.IGNORECASE | re.DOTALL,
)
"""Followed by nothing or an explanation, which must not take it back; `No Doubt` is a band."""


def normalised(text: str) -> str:
    """What is kept beside words: a decimal point, a minus sign before a number, `+` and `#` after a letter (C++)."""
    text = unicodedata.normalize("NFKD", _RAISED.sub(" ", text).casefold())
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", text)).translate(_PLAIN)
    text = _INITIALS.sub("", text)
    text = POINT.sub("0.", _MINUS.sub(" minus ", text))
    text = re.sub(r"(?<=\d),(?=\d{3})|['’‘`]|(?<!\d)\.|\.(?!\d)", "", text)
    text = _DROPPED.sub(_kept_mark, text.replace("&", " and "))
    words = text.split()
    # An article stands before something: the last letter of `Hepatitis A` is none.
    kept = [word for word in words[:-1] if word not in _ARTICLES] + words[-1:]
    return " ".join(words if _ARTICLES.issuperset(kept) else kept)


def _kept_mark(dropped: re.Match[str]) -> str:
    return dropped[0] if unicodedata.category(dropped[0][0]).startswith("M") else " "


def f1(answer: str, gold: str) -> float:
    """Token F1 of SQuAD over the normalised texts, 0 to 1."""
    mine, theirs = normalised(answer).split(), normalised(gold).split()
    common = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * common / (len(mine) + len(theirs)) if common else 0.0


def same(answer: str, gold: str) -> bool:
    """Whether the answer says what the gold says."""
    mine, theirs = normalised(answer), normalised(gold)
    if mine == theirs:
        return _same_signs(answer, gold) if mine else answer.strip() == gold.strip() != ""
    if theirs in ("yes", "no"):
        said = _YES_NO.match(answer.strip())
        return said is not None and said[1].casefold() == theirs
    if day := parse_date(gold):
        return day == parse_date(answer)
    wanted, given = parse_quantity(gold), parse_quantity(answer)
    return wanted is not None and given is not None and wanted.agrees(given)


def _same_signs(answer: str, gold: str) -> bool:
    """Whether the numbers of both are of one currency, or percentages, as far as both say what they are."""
    mine, theirs = ({m.group().strip() for m in _SIGNS.finditer(text)} for text in (answer, gold))
    return mine == theirs or not mine or not theirs
