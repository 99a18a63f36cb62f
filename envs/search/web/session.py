"""One rollout on the live web: the same tools and results as on a corpus."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from envs.blobs import BlobStore
from envs.errors import EnvironmentFailure, boundary
from envs.evidence import SNIPPET, Evidence
from envs.score import Submission
from envs.search import render
from envs.search.corpus import Hit
from envs.search.document import Document
from envs.search.reading import look_for, read
from envs.search.settings import SearchSettings
from envs.search.tools import Find, Search, Visit
from envs.search.web.fetch import Fetcher, FetchFailed
from envs.search.web.guard import Guard, Refused
from envs.search.web.pages import Pages
from envs.search.web.providers import Provider, SearchApi, WebResult
from envs.search.web.settings import WebSettings
from envs.tool import MalformedCall, ToolResult


class Web:
    """The live web as this process sees it; belongs to the event loop that first uses it."""

    def __init__(self, folder: Path, settings: WebSettings, blobs: BlobStore) -> None:
        self.blobs = blobs
        guard = Guard(allowed=settings.allowed_hosts)
        fetcher = Fetcher(
            guard,
            seconds=settings.fetch_seconds,
            max_bytes=settings.max_bytes,
            max_redirects=settings.max_redirects,
        )
        client = httpx.AsyncClient(trust_env=False)
        self.provider: Provider = SearchApi(settings.provider, client)
        self.pages = Pages(folder, keep_seconds=settings.keep_seconds, pause=settings.pause_seconds, fetcher=fetcher)
        self._open = AsyncExitStack()
        self._open.push_async_callback(client.aclose)
        self._open.push_async_exit(fetcher)

    async def fill(self, pieces: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """Listed results with the full text of their pages, fetched outside the agent's clock; the others, and those
        whose page cannot be had, as they are."""
        return tuple([await self._filled(piece) for piece in pieces])

    async def _filled(self, piece: Evidence) -> Evidence:
        if piece.blob is not None or piece.how != "listed":
            return piece
        try:
            document, fetched = await self.pages.document(piece.source)
        except (Refused, FetchFailed):
            return piece
        blob = await asyncio.to_thread(self.blobs.put, document.text.encode())
        return piece.model_copy(update={"blob": blob, "version": fetched})

    async def close(self) -> None:
        await self._open.aclose()


class WebSession:
    def __init__(self, web: Web, settings: SearchSettings) -> None:
        self._web = web
        self._settings = settings

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        if not isinstance(arguments, Search | Visit | Find):
            raise MalformedCall(f"no tool {tool!r}; there are search, visit and find")
        begun = time.perf_counter()
        with boundary(EnvironmentFailure, f"search: {tool} on the live web"):
            one = self._search(arguments) if isinstance(arguments, Search) else self._open(arguments)
            result = await one
        return result.model_copy(update={"seconds": time.perf_counter() - begun})

    async def submission(self) -> Submission | None:
        return None

    async def close(self) -> None:
        pass

    async def _search(self, asked: Search) -> ToolResult:
        queries, top_k, notes = asked.within(self._settings.max_queries, self._settings.max_top_k)
        texts, evidence = [f"({note})" for note in notes], []
        for query in queries:
            found = await self._web.provider.search(query, top_k) if query.strip() else []
            hits = [Hit(rank, r.score, Document(r.url, r.title, r.snippet)) for rank, r in enumerate(found, 1)]
            shown = [(hit, render.excerpt(hit.document.text, (0, len(hit.document.text)))) for hit in hits]
            texts.append(render.listing(render.Listing(query, shown)))
            evidence += [_listed(result, rank, query) for rank, result in enumerate(found, 1)]
        return ToolResult(text="\n\n".join(texts) or "No query was sent.", evidence=tuple(evidence))

    async def _open(self, asked: Visit | Find) -> ToolResult:
        try:
            document, fetched = await self._web.pages.document(asked.id)
        except (Refused, FetchFailed) as e:
            words = f"The page {asked.id[:300]} could not be read: {e}. Use another result, or search again."
            return ToolResult(text=words, is_error=True)
        blob = await asyncio.to_thread(self._web.blobs.put, document.text.encode())
        size = self._settings.page_chars
        if isinstance(asked, Visit):
            return await asyncio.to_thread(read, document, blob, fetched, asked.page, size)
        return await asyncio.to_thread(look_for, document, blob, fetched, asked.pattern, size)


def _listed(result: WebResult, rank: int, query: str) -> Evidence:
    return Evidence(
        kind="document",
        source=result.url,
        version="",
        how="listed",
        coverage=SNIPPET,
        blob=None,
        title=result.title,
        snippet=result.snippet,
        query=query,
        rank=rank,
        score=result.score,
    )
