"""One rollout's use of a corpus: from a tool call to what the model is shown and what is kept as evidence."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

from envs.errors import EnvironmentFailure, boundary
from envs.evidence import Evidence
from envs.score import Submission
from envs.search import render
from envs.search.corpus import Corpus, Hit
from envs.search.document import Document
from envs.search.passage import Span, best_passage, byte_ranges
from envs.search.query import understand
from envs.search.ranking import Meaning, left_out, ranked
from envs.search.reading import coverage, look_for, read
from envs.search.settings import SearchSettings
from envs.search.textblobs import TextBlobs
from envs.search.tools import Asked, Find, Search, Visit
from envs.tool import MalformedCall, ToolResult


class SearchSession:
    """Holds no state of its own: a call's result depends on the corpus version and the arguments alone."""

    def __init__(
        self,
        corpus: Corpus,
        blobs: TextBlobs,
        settings: SearchSettings,
        threads: ThreadPoolExecutor,
        meaning: Meaning | None = None,
    ) -> None:
        self._corpus = corpus
        self._blobs = blobs
        self._settings = settings
        self._threads = threads
        self._meaning = meaning

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        if not isinstance(arguments, Search | Visit | Find):
            raise MalformedCall(f"no tool {tool!r}; there are search, visit and find")
        with boundary(EnvironmentFailure, f"search: {tool} on corpus {self._corpus.name!r}"):
            begun = time.perf_counter()
            new: list[Document] = []
            if isinstance(arguments, Search):
                asked = arguments.within(self._settings.max_queries, self._settings.max_top_k)
                embedded = await self._meaning.embedded(asked.queries) if self._meaning else [None] * len(asked.queries)
                result = await self._in_thread(self._search, asked, embedded, new)
            else:
                result = await self._in_thread(self._open, arguments, new)
            await self._blobs.store(self._corpus.version, new)
            return result.model_copy(update={"seconds": time.perf_counter() - begun})

    async def submission(self) -> Submission | None:
        return None

    async def close(self) -> None:
        pass

    async def _in_thread(self, work: Callable[..., ToolResult], *given: Any) -> ToolResult:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    def _search(self, asked: Asked, embedded: list[list[float] | None], new: list[Document]) -> ToolResult:
        queries, top_k, notes = asked
        texts = [f"({note})" for note in notes]
        evidence: list[Evidence] = []
        for query, vector in zip(queries, embedded, strict=True):
            words = understand(query)
            found = ranked(self._corpus, words, top_k, self._meaning, vector)
            spans = [best_passage(hit.document.text, words.terms, self._settings.snippet_chars) for hit in found]
            passages = [render.excerpt(hit.document.text, span) for hit, span in zip(found, spans, strict=True)]
            hits, unused = list(zip(found, passages, strict=True)), left_out(query, words, self._meaning)
            texts.append(render.listing(render.Listing(query, hits, unused)))
            evidence += map(self._listed, found, spans, passages, repeat(query), repeat(new))
        return ToolResult(text="\n\n".join(texts) or "No query was sent.", evidence=tuple(evidence))

    def _open(self, asked: Visit | Find, new: list[Document]) -> ToolResult:
        document = self._corpus.document(asked.id)
        if document is None:
            return ToolResult(text=render.unknown(asked.id), is_error=True)
        version = self._corpus.version
        blob = self._blobs.reference(version, document, new)
        if isinstance(asked, Visit):
            return read(document, blob, version, asked.page, self._settings.page_chars)
        return look_for(document, blob, version, asked.pattern, self._settings.page_chars)

    def _listed(self, hit: Hit, span: Span, passage: str, query: str, new: list[Document]) -> Evidence:
        document, version = hit.document, self._corpus.version
        blob = self._blobs.reference(version, document, new)
        return Evidence(
            kind="document",
            source=document.id,
            version=version,
            how="listed",
            coverage=coverage(blob, byte_ranges(document.text, [span])),
            blob=blob,
            title=document.title,
            snippet=passage,
            query=query,
            rank=hit.rank,
            score=hit.score,
            licence=document.licence,
        )
