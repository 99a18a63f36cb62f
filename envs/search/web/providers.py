"""Search APIs by their shapes: SearXNG's JSON and Serper's. Asked politely: one rate for all rollouts of a process."""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx
from pydantic import Field

from envs.errors import EnvironmentFailure
from envs.frozen import Frozen
from envs.retry_after import retry_after
from envs.search.document import clean
from envs.search.keys import ApiKey, hidden, shown

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_TRIES = 4
"""Of one query, where the API does not say how long it wants to be left alone for."""


@dataclass(frozen=True)
class WebResult:
    url: str
    title: str
    snippet: str
    score: float
    """The API's own, or 1/rank where it gives none."""


@dataclass(frozen=True)
class Found:
    results: list[WebResult]
    waited: float
    """Seconds spent waiting for the API's patience, which are not the agent's."""


class Provider(Protocol):
    async def search(self, query: str, top_k: int) -> Found:
        """Raises `EnvironmentFailure`: a search API that is down is never the model's fault."""
        ...


class ProviderSettings(Frozen):
    shape: Literal["searxng", "serper"]
    url: str = Field(pattern=r"^https?://")
    """SearXNG: the instance's root. Serper: the whole address of its search route."""
    api_key: ApiKey | None = None
    seconds: float = Field(default=20, gt=0)
    """For one request."""
    pause_seconds: float = Field(default=0, ge=0)
    """Between the beginnings of two requests of this process."""
    at_once: int = Field(default=8, ge=1)
    """Requests under way at once in this process."""
    patience_seconds: float = Field(default=60, ge=0)
    """How long an API that asks to be left alone (429, Retry-After) is waited for each time; a longer wish is a
    failure, to be tried again as a whole. Waiting for `pause_seconds` and `at_once` knows no bound."""


class SearchApi:
    """Called with the operator's own address, so without the guard for pages."""

    def __init__(self, settings: ProviderSettings, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client
        self._slots = asyncio.Semaphore(settings.at_once)
        self._next = 0.0
        """When the next request may begin, by our own pause and by the API's wish (of the monotonic clock)."""
        self._held = 0.0

    async def search(self, query: str, top_k: int) -> Found:
        began, worked = time.monotonic(), 0.0  # the rest is waiting
        for tried in range(1, _TRIES + 1):
            async with self._slots:
                await self._turn()
                sent = time.monotonic()
                response = await self._answer(query, top_k, last=tried == _TRIES)
                worked += time.monotonic() - sent
            if response is not None and response.status_code not in _AGAIN:
                return Found(self._results(response, top_k), max(0.0, time.monotonic() - began - worked))
            asked = retry_after(response.headers.get("retry-after"), time.time()) if response is not None else None
            # For all: what this query was refused, the next one would be too.
            self._held = max(self._held, time.monotonic() + (asked or 0.25 * 2**tried))
        said = response.status_code if response is not None else "no answer"
        raise self._failed(f"{said}, {_TRIES} times")

    async def _turn(self) -> None:
        """Wait until a request may begin."""
        while (now := time.monotonic()) < (ready := max(self._next, self._held)):
            if self._held - now > self._settings.patience_seconds:
                raise self._failed(f"it asks to be left alone for another {self._held - now:.0f} seconds")
            await asyncio.sleep(ready - now)
        self._next = now + self._settings.pause_seconds

    async def _answer(self, query: str, top_k: int, last: bool) -> httpx.Response | None:
        """None for a connection that failed and may be tried again."""
        try:
            async with asyncio.timeout(self._settings.seconds):  # httpx has one for each read only
                return await self._ask(query, top_k)
        except (httpx.TransportError, TimeoutError) as e:
            if last:
                words = str(e) or f"no whole answer within {self._settings.seconds:g} seconds"
                raise self._failed(f"{type(e).__name__}: {words}") from None
            return None

    def _results(self, response: httpx.Response, top_k: int) -> list[WebResult]:
        if response.is_error:
            raise self._failed(str(response.status_code))
        try:
            body = response.json()
        except ValueError as e:
            raise self._failed(f"{type(e).__name__}: {e}") from None
        rows = body.get("results" if self._settings.shape == "searxng" else "organic") if type(body) is dict else None
        if not isinstance(rows, list):
            raise EnvironmentFailure(
                f"the search API at {shown(self._settings.url)} does not answer as {self._settings.shape}"
            )
        return [r for rank, row in enumerate(rows, 1) if (r := _result(row, rank))][:top_k]

    def _failed(self, said: str) -> EnvironmentFailure:
        words = f"the search API at {shown(self._settings.url)} failed: {said}"
        return EnvironmentFailure(hidden(words, self._settings.api_key))

    async def _ask(self, query: str, top_k: int) -> httpx.Response:
        settings = self._settings
        key = settings.api_key.get_secret_value() if settings.api_key else None
        if settings.shape == "searxng":
            headers = {"authorization": f"Bearer {key}"} if key else {}
            parameters = {"q": query, "format": "json"}
            address = settings.url.rstrip("/") + "/search"
            return await self._client.get(address, params=parameters, headers=headers, timeout=settings.seconds)
        headers = {"x-api-key": key or ""}
        asked = {"q": query, "num": top_k}
        return await self._client.post(settings.url, json=asked, headers=headers, timeout=settings.seconds)


def _result(row: Any, rank: int) -> WebResult | None:
    """None for a row without an address: answer boxes and the like."""
    if not isinstance(row, dict):
        return None
    url = row.get("url") or row.get("link")
    if not isinstance(url, str):
        return None
    url = " ".join(clean(url).split())
    if not url.isprintable():  # it could write lines of its own among the results
        return None
    snippet = row.get("content") or row.get("snippet") or ""
    return WebResult(
        url=url,
        title=clean(str(row.get("title") or url)),
        snippet=clean(str(snippet)),
        score=_score(row.get("score"), rank),
    )


def _score(given: Any, rank: int) -> float:
    try:
        score = float(given)
    except (TypeError, ValueError, OverflowError):
        return 1 / rank
    return score if math.isfinite(score) else 1 / rank
