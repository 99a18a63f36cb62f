"""In which order documents are listed: by words (BM25), by meaning (embeddings), or by both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from envs.search.corpus import Corpus, Hit
from envs.search.endpoint import Endpoint
from envs.search.query import MAX_TERMS, Words
from envs.search.vectors import MAX_CHARACTERS, Nearest

Ranking = Literal["words", "meaning", "both"]

_DEPTH = 100
"""How far down each list a document may stand to count in the fused one."""
_RRF = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009)."""


@dataclass(frozen=True)
class Meaning:
    """What ranking by embeddings takes: the documents' and somebody to embed the queries."""

    nearest: Nearest
    endpoint: Endpoint
    with_words: bool

    async def embedded(self, queries: Sequence[str]) -> list[list[float] | None]:
        """One vector a query; None for one that says nothing."""
        asked = [query.strip()[:MAX_CHARACTERS] for query in queries if query.strip()]
        vectors = iter(await self.endpoint.embed(asked) if asked else [])
        return [next(vectors) if query.strip() else None for query in queries]


def ranked(corpus: Corpus, words: Words, top_k: int, meaning: Meaning | None, vector: list[float] | None) -> list[Hit]:
    """The best documents. Scores are BM25's by words, cosines by meaning, fused ranks by both."""
    if meaning is None:
        return corpus.search(words, top_k)
    if vector is None:
        return []
    near = meaning.nearest.search(vector, _DEPTH if meaning.with_words else top_k)
    if meaning.with_words:
        by_words = [hit.document.id for hit in corpus.search(words, _DEPTH)]
        near = fused([by_words, [id for id, _ in near]])
    found = ((score, corpus.document_by_id(id)) for id, score in near[:top_k])
    return [Hit(rank, score, d) for rank, (score, d) in enumerate(found, 1) if d is not None]


def left_out(query: str, words: Words, meaning: Meaning | None) -> list[str]:
    """What of a long query was not used, as the agent is told."""
    notes = []
    if words.left_out and (meaning is None or meaning.with_words):
        notes.append(f"its first {MAX_TERMS} different words were used, {words.left_out} were left out")
    if meaning is not None and (more := len(query.strip()) - MAX_CHARACTERS) > 0:
        notes.append(f"its meaning is that of its first {MAX_CHARACTERS} characters, {more} were left out")
    return [f"the query is long: {note}" for note in notes]


def fused(lists: Sequence[Sequence[str]]) -> list[tuple[str, float]]:
    """(id, sum over the lists of 1/(60 + rank)), the best first, equals in the order of their ids."""
    scores: dict[str, float] = {}
    for ids in lists:
        for rank, id in enumerate(ids, 1):
            scores[id] = scores.get(id, 0.0) + 1 / (_RRF + rank)
    return sorted(((id, round(score, 6)) for id, score in scores.items()), key=lambda x: (-x[1], x[0]))
