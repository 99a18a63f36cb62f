"""One rollout's use of a corpus: from a tool call to what the model is shown and what is kept as evidence."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from envs.errors import EnvironmentFailure, boundary
from envs.evidence import Evidence
from envs.score import Submission
from envs.search import render
from envs.search.corpus import Corpus, Hit
from envs.search.passage import Span, best_passage, byte_ranges
from envs.search.query import MAX_TERMS, Words, understand
from envs.search.reading import coverage, look_for, read
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
            case Visit() | Find():
                result = self._open(arguments)
            case _:
                raise MalformedCall(f"no tool {tool!r}; there are search, visit and find")
        return result.model_copy(update={"seconds": time.perf_counter() - begun})

    def _search(self, asked: Search) -> ToolResult:
        queries, top_k, notes = asked.within(self._settings.max_queries, self._settings.max_top_k)
        texts, evidence = [f"({note})" for note in notes], []
        for query in queries:
            words = understand(query)
            hits = [(hit, self._passage(hit, words)) for hit in self._corpus.search(words, top_k)]
            texts.append(render.listing(render.Listing(query, hits, _notes(words))))
            evidence += [self._listed(hit, span, query) for hit, span in hits]
        return ToolResult(text="\n\n".join(texts) or "No query was sent.", evidence=tuple(evidence))

    def _open(self, asked: Visit | Find) -> ToolResult:
        document = self._corpus.document(asked.id)
        if document is None:
            return ToolResult(text=render.unknown(asked.id), is_error=True)
        blob, version = self._blobs.reference(self._corpus.version, document), self._corpus.version
        if isinstance(asked, Visit):
            return read(document, blob, version, asked.page, self._settings.page_chars)
        return look_for(document, blob, version, asked.pattern, self._settings.page_chars)

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
            coverage=coverage(blob, byte_ranges(document.text, [span])),
            blob=blob,
            title=document.title,
            snippet=render.excerpt(document.text, span),
            query=query,
            rank=hit.rank,
            score=hit.score,
            licence=document.licence,
        )


def _notes(words: Words) -> list[str]:
    if not words.left_out:
        return []
    return [f"the query is long: its first {MAX_TERMS} different words were used, {words.left_out} were left out"]
