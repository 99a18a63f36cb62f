"""Shorter views of a context, chosen to be as easy as they can be: what BM25 ranks first for the question.

BM25 with k1 = 1.2 and b = 0.75 (Robertson and Zaragoza, 2009), over the pieces or windows of the one context.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise

from compiler.assemble import frame_of
from compiler.example import Example, Piece
from compiler.render import Renderer

K1, B = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+")


def top_piece(example: Example, renderer: Renderer) -> Piece:
    scores = bm25(example.question, [renderer.text(piece) for piece in example.pieces])
    return example.pieces[max(range(len(scores)), key=lambda i: (scores[i], -i))]


def window(example: Example, renderer: Renderer, tokens: int) -> str:
    """The prompt with one stretch of its context: of about so many tokens, beginning at a multiple of half as many.

    Where a token stands in a piece is estimated from the piece's length.
    """
    texts = [renderer.text(piece) for piece in example.pieces]
    counts = [piece.tokens for piece in example.pieces]
    total, step = sum(counts), max(tokens // 2, 1)
    whole = "".join(texts)
    starts = [*range(0, total - tokens, step), total - tokens]
    places = _places(texts, counts)
    stretches = [whole[places(start) : places(start + tokens)] for start in starts]
    scores = bm25(example.question, stretches)
    best = max(range(len(scores)), key=lambda i: (scores[i], -i))
    before, after = frame_of(example)
    return f"{before}{stretches[best]}\n\n{after}"


def bm25(query: str, documents: Sequence[str]) -> list[float]:
    """The score of each document, among these alone."""
    counted = [Counter(_words(text)) for text in documents]
    lengths = [words.total() for words in counted]
    mean = sum(lengths) / max(len(lengths), 1) or 1.0
    scores = [0.0] * len(counted)
    for word in sorted(set(_words(query))):
        holding = sum(word in words for words in counted)
        weight = math.log(1 + (len(counted) - holding + 0.5) / (holding + 0.5))
        for i, words in enumerate(counted):
            if n := words[word]:
                scores[i] += weight * n * (K1 + 1) / (n + K1 * (1 - B + B * lengths[i] / mean))
    return scores


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _places(texts: Sequence[str], counts: Sequence[int]) -> "_Places":
    return _Places([0, *accumulate(counts)], [0, *accumulate(map(len, texts))])


class _Places:
    """From a token's number in the context to a character's, in straight lines within each piece."""

    def __init__(self, tokens: list[int], characters: list[int]) -> None:
        self._stretches = list(zip(pairwise(tokens), pairwise(characters), strict=True))

    def __call__(self, token: int) -> int:
        for (first, last), (start, end) in self._stretches:
            if token < last:
                return start + (end - start) * (token - first) // max(last - first, 1)
        return self._stretches[-1][1][1]
