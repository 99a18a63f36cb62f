"""One rollout on the live web: the same tools and results as on a corpus."""

import asyncio
import re
import time
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
from envs.search.web.providers import Found, Provider, SearchApi, WebResult
from envs.search.web.reader import Readers
from envs.search.web.settings import WebSettings
from envs.tool import MalformedCall, ToolResult

MAX_QUERY = 500
"""Characters. Search APIs refuse long queries, as engines do: about 400 to 2,000 characters, 8,000 bytes of URL."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


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
        readers = Readers(settings.readers, settings.read_seconds)
        self.pages = Pages(
            folder,
            keep_seconds=settings.keep_seconds,
            pause=settings.pause_seconds,
            fetcher=fetcher,
            readers=readers,
        )
        self._open = AsyncExitStack()
        self._open.push_async_callback(asyncio.to_thread, readers.close)
        self._open.push_async_callback(client.aclose)
        self._open.push_async_exit(fetcher)

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
            if isinstance(arguments, Search):
                result, waited = await self._search(arguments)
            else:
                result, waited = await self._open(arguments), 0.0
        return result.model_copy(update={"seconds": max(0.0, time.perf_counter() - begun - waited)})

    async def submission(self) -> Submission | None:
        return None

    async def close(self) -> None:
        pass

    async def _search(self, asked: Search) -> tuple[ToolResult, float]:
        """The results, and the seconds that were spent waiting for the search API's patience."""
        queries, top_k, notes = asked.within(self._settings.max_queries, self._settings.max_top_k)
        texts, evidence, waited = [f"({note})" for note in notes], [], 0.0
        for query in queries:
            words, left_out = _within_bounds(query)
            found = await self._web.provider.search(words, top_k) if words else Found([], 0.0)
            waited += found.waited
            hits = [Hit(rank, r.score, Document(r.url, r.title, r.snippet)) for rank, r in enumerate(found.results, 1)]
            shown = [(hit, render.excerpt(hit.document.text, (0, len(hit.document.text)))) for hit in hits]
            texts.append(render.listing(render.Listing(query, shown, left_out)))
            evidence += [_listed(result, rank, query) for rank, result in enumerate(found.results, 1)]
        return ToolResult(text="\n\n".join(texts) or "No query was sent.", evidence=tuple(evidence)), waited

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


def _within_bounds(query: str) -> tuple[str, list[str]]:
    """What the search API is asked, and in words what of the query that leaves out."""
    asked = " ".join(_CONTROL.sub(" ", query).split())
    if len(asked) <= MAX_QUERY:
        return asked, []
    cut = asked[: MAX_QUERY + 1].rpartition(" ")[0] or asked[:MAX_QUERY]
    return cut, [f"the query is long: its first {len(cut)} characters were used, {len(asked) - len(cut)} were left out"]


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
