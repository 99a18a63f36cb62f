"""One version of a corpus, open for searching. Immutable on disk: any number of processes may read it."""

from pathlib import Path
from typing import NamedTuple

import tantivy

from envs.search.analysis import ANALYSIS, new_analyzer, spaced
from envs.search.document import Document, unpacked
from envs.search.query import Words, compiled

_BODY = "body"
_TIES = 5
_MOST_TIES = 10_000
"""Each costs about 3 microseconds to put in order."""


def new_schema() -> tantivy.Schema:
    """`body` (title, then text) is what is searched, id and URL are looked up whole, `pack` is the document.

    One searched field ranks better here than title and text apart with a boost, and costs half as much.
    """
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("url", tokenizer_name="raw", index_option="basic")
    builder.add_text_field(_BODY, tokenizer_name=ANALYSIS)
    builder.add_bytes_field("pack", stored=True)
    return builder.build()


def entry(document: Document, pack: bytes) -> tantivy.Document:
    """What the engine is given for a document."""
    made = tantivy.Document(id=document.id, body=spaced(f"{document.title}\n{document.text}"))
    if document.url is not None:
        made.add_text("url", document.url)
    made.add_bytes("pack", pack)
    return made


class Hit(NamedTuple):
    rank: int
    """1 is the best."""
    score: float
    """BM25."""
    document: Document


class Corpus:
    def __init__(self, name: str, version: str, index: Path) -> None:
        self.name, self.version = name, version
        opened = tantivy.Index.open(str(index))
        opened.register_tokenizer(ANALYSIS, new_analyzer())
        opened.config_reader("manual")  # a version never changes: no thread that watches for it
        self._schema = opened.schema
        self._searcher = opened.searcher()

    def search(self, words: Words, top_k: int) -> list[Hit]:
        """The best documents, equal scores in the order of their ids."""
        query = compiled(words, self._schema, _BODY)
        if query is None or top_k < 1:
            return []
        found = self._with_ties(query, top_k)
        ranked = sorted(
            ((round(score, 4), self._document(address)) for score, address in found), key=lambda x: (-x[0], x[1].id)
        )
        return [Hit(rank, score, document) for rank, (score, document) in enumerate(ranked[:top_k], 1)]

    def _with_ties(self, query: tantivy.Query, top_k: int) -> list[tuple[float, tantivy.DocAddress]]:
        """At least the best `top_k`, and whatever has the score of the last of them.

        The engine breaks ties by where a document happens to lie, which differs from one indexing to the next;
        with all of them at hand the id can decide. Beyond `_MOST_TIES` equals it does not.
        """
        limit = top_k + _TIES
        while True:
            found: list[tuple[float, tantivy.DocAddress]] = self._searcher.search(query, limit, count=False).hits
            if len(found) <= top_k:
                return found
            last = round(found[top_k - 1][0], 4)
            if len(found) < limit or round(found[-1][0], 4) != last or limit >= _MOST_TIES:
                return [hit for hit in found if round(hit[0], 4) >= last]
            limit = min(limit * 8, max(_MOST_TIES, limit))

    def document(self, key: str) -> Document | None:
        """By id, or else by URL; of several parts of one page, the one whose id comes first."""
        if by_id := self.document_by_id(key):
            return by_id
        same_page = self._holding("url", key, self._searcher.doc_freq("url", key))
        return min(map(self._document, same_page), key=lambda document: document.id, default=None)

    def document_by_id(self, id: str) -> Document | None:
        return next(map(self._document, self._holding("id", id, 1)), None)

    def missing(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the ids that no document has."""
        return tuple(id for id in ids if not self._holding("id", id, 1))

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def _holding(self, field: str, value: str, most: int) -> list[tantivy.DocAddress]:
        """Unlike a count by the engine, without documents that were removed."""
        query = tantivy.Query.term_query(self._schema, field, value)
        return [address for _, address in self._searcher.search(query, max(1, most), count=False).hits]

    def _document(self, address: tantivy.DocAddress) -> Document:
        pack: bytes = self._searcher.doc(address)["pack"][0]
        return unpacked(pack)
