"""Pages of the live web as documents, kept on disk for a while, so that rollouts of one task read the same page."""

import asyncio
import contextlib
import hashlib
import os
import time
from pathlib import Path

import httpx
import orjson

from envs.search.document import Document, packed
from envs.search.library import write_whole
from envs.search.web.fetch import Fetcher
from envs.search.web.guard import Target
from envs.search.web.manners import Pace, Robots
from envs.search.web.reader import Readers

_PATIENCE = frozenset({429, 503})
"""Statuses with which a server asks for it."""


class Pages:
    """Safe for many tasks of one event loop; a page that several ask for at once is fetched once."""

    def __init__(self, folder: Path, *, keep_seconds: float, pause: float, fetcher: Fetcher, readers: Readers) -> None:
        self._folder = folder
        self._keep = keep_seconds
        self._fetcher = fetcher
        self._readers = readers
        self._robots = Robots(fetcher)
        self._pace = Pace(pause)
        self._asking: dict[str, asyncio.Lock] = {}

    async def document(self, url: str) -> tuple[Document, str]:
        """The page and when it was fetched (ISO, UTC). Raises `Refused` or `FetchFailed`."""
        lock = self._asking.setdefault(url, asyncio.Lock())
        try:
            async with lock:
                if kept := await asyncio.to_thread(self._kept, url):
                    return kept
                return await self._fetch(url)
        finally:
            if not lock.locked():
                self._asking.pop(url, None)

    async def _fetch(self, url: str) -> tuple[Document, str]:
        page = await self._fetcher.get(url, self._behave)
        if page.retry_after is not None and page.status in _PATIENCE:
            self._pace.hold(httpx.URL(page.url).host, page.retry_after)
        document = await self._readers.document(page, url)
        fetched = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        await asyncio.to_thread(self._write, document, fetched)
        return document, fetched

    async def _behave(self, target: Target) -> None:
        await self._pace.turn(target.url.host, await self._robots.pause(str(target.url)))

    def _path(self, url: str) -> Path:
        page = httpx.URL(url).copy_with(fragment=None)  # one page under all spellings of its URL
        name = hashlib.sha256(str(page).encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.json"

    def _kept(self, url: str) -> tuple[Document, str] | None:
        try:
            path = self._path(url)
            if time.time() - path.stat().st_mtime > self._keep:
                return None
            fetched, *fields = orjson.loads(path.read_bytes())
        except (FileNotFoundError, httpx.InvalidURL, UnicodeError):
            return None
        document = Document(*fields)
        # Nothing tells a rollout that another one asked for the page before, and how that spelt it.
        return document._replace(id=url, title=url if document.title == document.id else document.title), fetched

    def _write(self, document: Document, fetched: str) -> None:
        path = self._path(document.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._forget(path.parent)
        write_whole(path, orjson.dumps([fetched, *orjson.loads(packed(document))]))

    def _forget(self, folder: Path) -> None:
        """Its pages that nobody is given any more: one folder with each page written, so that all have their turn."""
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - entry.stat().st_mtime > self._keep:
                        os.unlink(entry)
