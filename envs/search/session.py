"""One rollout's use of a corpus: from a tool call to what the model is shown and what is kept as evidence."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from envs.blobs import Blob
from envs.errors import EnvironmentFailure, boundary
from envs.evidence import FULL, Coverage, Evidence
from envs.score import Submission
from envs.search import render
from envs.search.corpus import Corpus, Hit
from envs.search.document import Document
from envs.search.passage import Span, best_passage, byte_ranges, find, pages
from envs.search.query import MAX_TERMS, Words, understand
from envs.search.settings import SearchSettings
from envs.search.textblobs import TextBlobs
from envs.search.tools import Find, Search, Visit
from envs.tool import MalformedCall, ToolResult


class SearchSession:
    """Holds no state of its own: a call's result depends on the corpus version and the arguments alone."""

    def __init__(self, corpus: Corpus, blobs: TextBlobs, settings: SearchSettings, threads: ThreadPoolExecutor) -> None:
        self._corpus = corpus
        self._blobs = blobs
        self._settings = settings
        self._threads = threads

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        with boundary(EnvironmentFailure, f"search: {tool} on corpus {self._corpus.name!r}"):
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, tool, arguments)

    async def submission(self) -> Submission | None:
        return None

    async def close(self) -> None:
        pass

    def _answer(self, tool: str, arguments: Any) -> ToolResult:
        begun = time.perf_counter()
        match arguments:
            case Search():
                result = self._search(arguments)
            case Visit():
                result = self._visit(arguments)
            case Find():
                result = self._find(arguments)
            case _:
                raise MalformedCall(f"no tool {tool!r}; there are search, visit and find")
        return result.model_copy(update={"seconds": time.perf_counter() - begun})

    def _search(self, asked: Search) -> ToolResult:
        settings, queries = self._settings, asked.queries
        texts, evidence = [], []
        top_k = min(asked.top_k, settings.max_top_k)
        if asked.top_k > top_k:
            texts.append(f"(top_k was {asked.top_k}; at most {top_k} results are listed for a query)")
        if len(queries) > settings.max_queries:
            texts.append(f"({len(queries)} queries were sent; only the first {settings.max_queries} are answered)")
        for query in queries[: settings.max_queries]:
            words = understand(query)
            hits = [(hit, self._passage(hit, words)) for hit in self._corpus.search(words, top_k)]
            texts.append(render.listing(render.Listing(query, hits, _notes(words))))
            evidence += [self._listed(hit, span, query) for hit, span in hits]
        return ToolResult(text="\n\n".join(texts) or "No query was sent.", evidence=tuple(evidence))

    def _visit(self, asked: Visit) -> ToolResult:
        document = self._corpus.document(asked.id)
        if document is None:
            return _unknown(asked.id)
        spans = pages(document.text, self._settings.page_chars)
        if not 1 <= asked.page <= len(spans):
            return ToolResult(
                text=f"Document {document.id} has {len(spans)} page(s); there is no page {asked.page}.", is_error=True
            )
        blob = self._blobs.reference(self._corpus.version, document)
        shown = byte_ranges(document.text, [spans[asked.page - 1]])
        evidence = self._opened(document, blob, shown)
        text = render.page(document, asked.page, spans)
        if evidence.coverage == FULL:
            return ToolResult(text=text, evidence=(evidence,))
        hidden = blob.size - sum(end - start for start, end in shown)
        return ToolResult(text=text, raw=blob, shown=shown, hidden_bytes=hidden, evidence=(evidence,))

    def _find(self, asked: Find) -> ToolResult:
        document = self._corpus.document(asked.id)
        if document is None:
            return _unknown(asked.id)
        found = find(document.text, asked.pattern)
        text = render.places(document, asked.pattern, found, pages(document.text, self._settings.page_chars))
        if not found.total:
            return ToolResult(text=text)
        blob = self._blobs.reference(self._corpus.version, document)
        shown = byte_ranges(document.text, [around for _, around in found.shown])
        return ToolResult(text=text, evidence=(self._opened(document, blob, shown),))

    def _passage(self, hit: Hit, words: Words) -> Span:
        return best_passage(hit.document.text, words.terms, self._settings.snippet_chars)

    def _listed(self, hit: Hit, span: Span, query: str) -> Evidence:
        document = hit.document
        blob = self._blobs.reference(self._corpus.version, document)
        return Evidence(
            kind="document",
            source=document.id,
            version=self._corpus.version,
            how="listed",
            coverage=_coverage(blob, byte_ranges(document.text, [span])),
            blob=blob,
            title=document.title,
            snippet=render.excerpt(document.text, span),
            query=query,
            rank=hit.rank,
            score=hit.score,
            licence=document.licence,
        )

    def _opened(self, document: Document, blob: Blob, shown: tuple[Span, ...]) -> Evidence:
        return Evidence(
            kind="document",
            source=document.id,
            version=self._corpus.version,
            how="opened",
            coverage=_coverage(blob, shown),
            blob=blob,
            title=document.title,
            licence=document.licence,
        )


def _coverage(blob: Blob, shown: tuple[Span, ...]) -> Coverage:
    return FULL if shown == ((0, blob.size),) else Coverage(kind="partial", ranges=shown)


def _notes(words: Words) -> list[str]:
    if not words.left_out:
        return []
    return [f"the query is long: its first {MAX_TERMS} different words were used, {words.left_out} were left out"]


def _unknown(id: str) -> ToolResult:
    return ToolResult(
        text=f"There is no document {id[:200]!r}. Use an id exactly as `search` listed it; "
        "if you have none, call search first.",
        is_error=True,
    )
