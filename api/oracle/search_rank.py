"""Which listed document to open next: those whose title and passages bear on the question.

Nothing here knows the reference: a score follows from the question, what searches listed and what was read.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from api.oracle.search_pages import Listed, Opened
from api.oracle.search_words import flat, stems

_AFTER_NAME = re.compile(r"\s*\(.*\)$")
_stems = lru_cache(maxsize=20_000)(stems)


def ranked(question: str, found: Mapping[str, Listed], read: Iterable[Opened]) -> list[tuple[float, str]]:
    """(score, id) of every listed document that was not opened, best first."""
    read = list(read)
    done = {page.id for page in read}
    seen = {id: _words(document) for id, document in found.items()}
    counts = Counter(word for words in seen.values() for word in words)
    weights = {word: math.log(1 + (len(found) + 1) / (1 + count)) for word, count in counts.items()}
    asked, phrase = _stems(question), flat(question)
    pages = " ".join(flat(page.text) for page in read)
    scores = [
        (_score(document, seen[id], asked, phrase, pages, weights), id)
        for id, document in found.items()
        if id not in done
    ]
    return sorted(scores, key=lambda pair: -pair[0])


def _score(
    document: Listed,
    words: Collection[str],
    asked: Collection[str],
    phrase: str,
    pages: str,
    weights: Mapping[str, float],
) -> float:
    """Title in the question, title named by a page that was read, share of the question's weight that title and
    passages hold, best rank, and how many searches listed it."""
    name = flat(_AFTER_NAME.sub("", document.title))
    score = 1 / min(document.ranks) + 0.15 * min(len(document.ranks), 6)
    score += 6 * _share(asked, words, weights) + 2 * _share(_stems(name), asked, weights)
    if len(name) > 2 and name in phrase:
        score += 4
    if len(name) > 5 and name in pages:
        score += 4
    return score


def _share(words: Collection[str], within: Collection[str], weights: Mapping[str, float]) -> float:
    """Share of the weight of `words` that stands `within`; a word met nowhere weighs as the rarest do."""
    rarest = max(weights.values(), default=1.0)
    total = sum(weights.get(word, rarest) for word in words)
    return sum(weights.get(word, rarest) for word in words if word in within) / total if total else 0.0


def _words(document: Listed) -> frozenset[str]:
    return frozenset().union(_stems(document.title), *(_stems(snippet) for snippet in document.snippets))
