"""Words of a question: what counts, how words are compared, and the searches that a question suggests."""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

_STOP_WORDS = """
a an the of in on at by for to from with and or is are was were be been being do does did has have had which who whom
whose what when where how why that this these those it its as into than then there their his her he she they not no
but if also both same between many much during one two ever made used known name named called us
"""
STOP = frozenset(_STOP_WORDS.split())
MOST_QUERIES = 60
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"[\w'’.\-]+|[,;:?!()\"]")
_QUOTED = re.compile(r'["“”]([^"“”]+)["“”]')
_CAPITAL = r"(?:(?:[A-ZÀ-Ý]\.)+|[A-ZÀ-Ý][\w'’&\-]*(?:\.[\w'’&\-]+)*)"
"""A capitalised word, or initials; the full stop of a sentence is no part of it."""
_NAMES = re.compile(rf"{_CAPITAL}(?:\s+(?:(?:of|the|in|and|for|de|von|van|ap|to|on|&)\s+){{0,2}}(?:{_CAPITAL}|\d+))*")


def words(text: str) -> list[str]:
    """Lowercase words that count."""
    found = (word.lower() for word in _WORD.findall(text))
    return [word for word in found if word not in STOP and (len(word) > 1 or word.isdigit())]


def stem(word: str) -> str:
    for ending in ("ies", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems(text: str) -> frozenset[str]:
    return frozenset(map(stem, words(text)))


def flat(text: str) -> str:
    """Lowercase words between single spaces, with a space at each end: for finding a phrase as whole words."""
    return f" {' '.join(_WORD.findall(text.lower()))} "


def names(question: str) -> list[str]:
    """Capitalised phrases, without a leading question word."""
    out = []
    for phrase in _NAMES.findall(question):
        parts = phrase.split()
        while parts and parts[0].lower() in STOP:
            parts = parts[1:]
        if parts:
            out.append(re.sub(r"['’]s?$", "", " ".join(parts)))
    return out


def chunks(question: str) -> list[str]:
    """Runs of words that count, cut at stop words and punctuation."""
    out: list[list[str]] = [[]]
    for token in _TOKEN.findall(question):
        if not token[0].isalnum() or token.lower().strip("'’.") in STOP:
            out.append([])
        else:
            out[-1].append(token)
    return [" ".join(run) for run in out if run]


@lru_cache(maxsize=4096)
def queries(question: str) -> tuple[str, ...]:
    """Searches made of the question's own words, from the whole of it to single words; at most `MOST_QUERIES`.

    Two that hold the same words are one.
    """
    runs, named = chunks(question), names(question)
    plain = [run for run in runs if not run[0].isupper() and " " in run]
    counting = [word for word in _WORD.findall(question) if len(word) > 2 and word.lower() not in STOP]
    first = [question.strip(), *_QUOTED.findall(question), *named]
    first += [" ".join(word for word in counting if not word[0].isupper()), *plain]
    first += _pairs(pairwise(runs)) + _pairs((n, p) for n in named for p in plain)
    later = _pairs((a, b) for i, a in enumerate(runs) for b in runs[i + 2 :]) + runs
    single = sorted(dict.fromkeys(counting), key=len, reverse=True)
    close = _pairs((a, b) for i, a in enumerate(counting) for b in counting[i + 1 : i + 4])
    by_words: dict[frozenset[str], str] = {}
    for query in [*_distinct(first + later)[:24], *single, *close, *later]:
        if key := stems(query):
            by_words.setdefault(key, query)
    return tuple(by_words.values())[:MOST_QUERIES]


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{a} {b}" for a, b in pairs]


def _distinct(queries: list[str]) -> list[str]:
    by_words: dict[frozenset[str], str] = {}
    for query in queries:
        by_words.setdefault(stems(query), query)
    return list(by_words.values())
