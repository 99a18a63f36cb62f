"""Search APIs by their shapes: SearXNG's JSON and Serper's."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx
from pydantic import Field, SecretStr

from envs.errors import EnvironmentFailure
from envs.frozen import Frozen
from envs.search.document import clean


@dataclass(frozen=True)
class WebResult:
    url: str
    title: str
    snippet: str
    score: float
    """The API's own, or 1/rank where it gives none."""


class Provider(Protocol):
    async def search(self, query: str, top_k: int) -> list[WebResult]:
        """Raises `EnvironmentFailure`: a search API that is down is never the model's fault."""
        ...


class ProviderSettings(Frozen):
    shape: Literal["searxng", "serper"]
    url: str = Field(pattern=r"^https?://")
    """SearXNG: the instance's root. Serper: the whole address of its search route."""
    api_key: SecretStr | None = None
    seconds: float = Field(default=20, gt=0)


class SearchApi:
    """Called with the operator's own address, so without the guard for pages."""

    def __init__(self, settings: ProviderSettings, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client

    async def search(self, query: str, top_k: int) -> list[WebResult]:
        try:
            body = await self._ask(query, top_k)
        except (httpx.HTTPError, ValueError) as e:
            said = f"{type(e).__name__}: {e}" if not isinstance(e, httpx.HTTPStatusError) else e.response.status_code
            raise EnvironmentFailure(f"the search API at {self._settings.url} failed: {said}") from None
        rows = body.get("results" if self._settings.shape == "searxng" else "organic") if type(body) is dict else None
        if not isinstance(rows, list):
            raise EnvironmentFailure(
                f"the search API at {self._settings.url} does not answer as {self._settings.shape}"
            )
        return [r for rank, row in enumerate(rows, 1) if (r := _result(row, rank))][:top_k]

    async def _ask(self, query: str, top_k: int) -> Any:
        settings = self._settings
        key = settings.api_key.get_secret_value() if settings.api_key else None
        if settings.shape == "searxng":
            headers = {"authorization": f"Bearer {key}"} if key else {}
            parameters = {"q": query, "format": "json"}
            address = settings.url.rstrip("/") + "/search"
            response = await self._client.get(address, params=parameters, headers=headers, timeout=settings.seconds)
        else:
            headers = {"x-api-key": key or ""}
            asked = {"q": query, "num": top_k}
            response = await self._client.post(settings.url, json=asked, headers=headers, timeout=settings.seconds)
        response.raise_for_status()
        return response.json()


def _result(row: Any, rank: int) -> WebResult | None:
    """None for a row without an address: answer boxes and the like."""
    if not isinstance(row, dict):
        return None
    url = row.get("url") or row.get("link")
    if not isinstance(url, str):
        return None
    snippet = row.get("content") or row.get("snippet") or ""
    score = row.get("score")
    return WebResult(
        url=clean(url),
        title=clean(str(row.get("title") or url)),
        snippet=clean(str(snippet)),
        score=float(score) if isinstance(score, int | float) else 1 / rank,
    )
