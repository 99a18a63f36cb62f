"""Which part of a text is shown: the passage that a query hits, pages of a long text, places of a pattern.

All offsets are characters of the text unless a name says bytes. Pure functions.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from envs.search.analysis import SPACELESS, analyzer, term_of

_SCANNED = 20_000
"""Characters at the beginning of a text in which the passage is looked for."""

_WORDS_ALONE = bytes(ord(chr(n).lower()) if chr(n).isalnum() else ord(" ") for n in range(128)).ljust(256)
"""Translates ASCII: letters to lower case, what is neither letter nor digit to spaces."""

_SPACE, _LONG_SPACE = re.compile(r"\s+"), re.compile(r"\s{2,}")

_LETTERS = str.maketrans(
    "\u0131\u017f\u00b5\u03c2\u03d0\u03d1\u03d5\u03d6\u03f0\u03f1\u03f5\u1e9b\u1fbe",
    "is\u03bc\u03c3\u03b2\u03b8\u03c6\u03c0\u03ba\u03c1\u03b5\u1e61\u03b9",
)
"""Small letters that are others in another shape, such as the two sigmas: the shape and the letter."""

_REST_OF_WORD = re.compile(r"\S{0,40}(?=\s|\Z)")

Span = tuple[int, int]


def best_passage(text: str, terms: Sequence[str], size: int) -> Span:
    """The window of about `size` characters that holds most of the distinct terms; the first one of equals.

    A text that fits is given whole; one without any of the terms by its beginning.
    """
    if len(text) <= size:
        return 0, len(text)
    places = _term_places(text[:_SCANNED], frozenset(terms))
    best, best_count, left = 0, 0, 0
    within: dict[str, int] = {}
    for at, term in places:
        within[term] = within.get(term, 0) + 1
        while at - places[left][0] > size * 3 // 4:
            gone = places[left][1]
            within[gone] -= 1
            if not within[gone]:
                del within[gone]
            left += 1
        if len(within) > best_count:
            best, best_count = places[left][0], len(within)
    start = 0 if best <= size // 4 else _word_start(text, min(best - size // 8, len(text) - size))
    return start, _word_end(text, start + size)


def _term_places(text: str, terms: frozenset[str]) -> list[tuple[int, str]]:
    """Where the terms stand, in order. Plain ASCII goes without an object for every word of the text."""
    if text.isascii():
        return _ascii_places(text, terms)
    places = [(t.char_offset_from, t.text) for t in analyzer().pre_tokenize(text).tokens if t.text in terms]
    # Runs of a script without spaces are one long token to the analyzer here: their characters are looked up.
    if spaceless := "".join(t for t in terms if SPACELESS.fullmatch(t)):
        places += [(m.start(), m.group()) for m in re.finditer(f"[{spaceless}]", text)]
        places.sort()
    return places


def _ascii_places(text: str, terms: frozenset[str]) -> list[tuple[int, str]]:
    """A stem begins its words, but for its last letters (`hope` of `hoping`, `famili` of `families`).

    Every word gets a space on both sides, so that the space before one is at the word's own offset in `text`.
    """
    words = f" {text} ".encode().translate(_WORDS_ALONE).decode()
    places = []
    for term in terms:
        start = " " + (term[:-1] if len(term) > 2 else term)
        at = words.find(start)
        while at >= 0:
            end = words.find(" ", at + 1)
            if term_of(words[at + 1 : end]) == term:
                places.append((at, term))
            at = words.find(start, end)
    places.sort()
    return places


def _word_start(text: str, at: int) -> int:
    """The beginning of the word at `at`, if it begins within 40 characters before."""
    space = max(text.rfind(" ", max(0, at - 40), at), text.rfind("\n", max(0, at - 40), at))
    return space + 1 if space >= 0 else at


def _word_end(text: str, at: int) -> int:
    """The end of the word at `at`, if it ends within 40 characters after."""
    end = _REST_OF_WORD.match(text, min(at, len(text)))
    return end.end() if end else at


def pages(text: str, size: int) -> tuple[Span, ...]:
    """The text cut into pages of at most `size` characters, at the end of a paragraph, line or word where one
    ends in the page's last quarter. Together they are the text; an empty text has one empty page."""
    spans: list[Span] = []
    start = 0
    while len(text) - start > size:
        end = start + size
        for mark in ("\n\n", "\n", " "):
            found = text.rfind(mark, end - size // 4, end)
            if found >= 0:
                end = found + len(mark)
                break
        spans.append((start, end))
        start = end
    return (*spans, (start, len(text)))


@dataclass(frozen=True)
class Found:
    """Where a pattern stands in a text: every place is counted, the first few are shown with their surroundings."""

    total: int
    shown: tuple[tuple[Span, Span], ...]
    """(the place, the passage around it)."""


def find(text: str, pattern: str, around: int = 200, limit: int = 10) -> Found:
    """Places of the pattern as plain text: upper and lower case are one, so are runs of white space.

    Never a regular expression: a model could write one that never ends, and even plain words, in a text that repeats
    itself, would take it as many steps as both are long together multiplied, while nothing else runs in the process.
    """
    wanted = _alike(" ".join(pattern.split()))
    if not wanted:
        return Found(0, ())
    plain = _SPACE.sub(" ", _alike(text))
    back = _Shortened(text)
    shown: list[tuple[Span, Span]] = []
    at = plain.find(wanted)
    while at >= 0 and len(shown) < limit:
        start, end = back.place(at), back.place(at + len(wanted) - 1) + 1
        shown.append(((start, end), (max(0, start - around), min(len(text), end + around))))
        at = plain.find(wanted, at + len(wanted))
    return Found(plain.count(wanted), tuple(shown))


def _alike(text: str) -> str:
    """In small letters, as long as before."""
    return text.lower() if text.isascii() else text.replace("\u0130", "i").lower().translate(_LETTERS)


class _Shortened:
    """Leads from a text whose runs of white space are one space each back to the text itself."""

    def __init__(self, text: str) -> None:
        self._after: list[int] = []
        """Where in the shortened text each run of several stands, and how many characters went until then."""
        self._gone: list[int] = []
        gone = 0
        for run in _LONG_SPACE.finditer(text):
            self._after.append(run.start() - gone)
            gone += len(run[0]) - 1
            self._gone.append(gone)

    def place(self, at: int) -> int:
        """Of a character that is no white space."""
        runs = bisect_left(self._after, at)
        return at + (self._gone[runs - 1] if runs else 0)


def byte_ranges(text: str, spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans as half-open byte ranges of the text's UTF-8, ordered, those that touch joined."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    if text.isascii():
        return tuple(joined)
    ranges: list[Span] = []
    at = encoded = 0
    for a, b in joined:
        start = encoded + len(text[at:a].encode())
        at, encoded = b, start + len(text[a:b].encode())
        ranges.append((start, encoded))
    return tuple(ranges)
