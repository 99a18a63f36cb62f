"""The two requests that the search environment makes of an OpenAI-compatible endpoint: a judge's completion and
embeddings."""

import asyncio
import time
from types import TracebackType
from typing import Any

import httpx
from pydantic import Field

from envs.frozen import Frozen
from envs.retry_after import retry_after
from envs.search.keys import ApiKey, hidden

_TRIES = 4
_AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 60.0


class EndpointSettings(Frozen):
    base_url: str = Field(pattern=r"^https?://")
    """Up to and including `/v1`."""
    model: str = Field(min_length=1)
    api_key: ApiKey | None = None
    seconds: float = Field(default=120, gt=0)
    """For one request."""


class Endpoint:
    """Belongs to the event loop that first uses it; close it, or use `async with`."""

    def __init__(self, settings: EndpointSettings) -> None:
        key = settings.api_key.get_secret_value() if settings.api_key else None
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._key = settings.api_key
        self._model = settings.model
        self._seconds = settings.seconds
        self._client = httpx.AsyncClient(
            base_url=settings.base_url.rstrip("/") + "/",
            headers=headers,
            timeout=settings.seconds,
            transport=httpx.AsyncHTTPTransport(),  # of our own: httpx's would ask, key and all, through HTTP_PROXY
        )

    async def complete(self, prompt: str) -> str:
        """The text of one greedy completion. Raises `ValueError` where there is none."""
        message = {"role": "user", "content": prompt}
        body = await self._post("chat/completions", {"model": self._model, "messages": [message], "temperature": 0})
        try:
            return str(body["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError):
            raise ValueError("the endpoint's answer holds no choices[0].message.content") from None

    async def embed(self, texts: list[str]) -> list[list[float]]:
        """One vector a text, in their order."""
        body = await self._post("embeddings", {"model": self._model, "input": texts})
        try:
            rows = sorted(body["data"], key=lambda row: int(row["index"]))
            vectors = [[float(x) for x in row["embedding"]] for row in rows]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError("the endpoint's answer holds no data[].embedding of numbers") from None
        if len(vectors) != len(texts):
            raise ValueError(f"the endpoint gave {len(vectors)} embeddings for {len(texts)} texts")
        return vectors

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        for attempt in range(1, _TRIES + 1):
            wait = 0.2 * 2**attempt
            try:
                async with asyncio.timeout(self._seconds):  # httpx has one for each read only
                    response = await self._client.post(path, json=body)
            except (httpx.TransportError, TimeoutError) as e:
                if attempt == _TRIES:
                    words = str(e) or f"no whole answer within {self._seconds:g} seconds"
                    raise ValueError(f"the endpoint failed: {type(e).__name__}: {words}") from None
            else:
                if response.status_code not in _AGAIN or attempt == _TRIES:
                    if response.is_error:
                        said = hidden(response.text, self._key)[:500]
                        raise ValueError(f"the endpoint answered {response.status_code}: {said}")
                    return response.json()
                wait = max(wait, retry_after(response.headers.get("retry-after"), time.time()) or 0.0)
            await asyncio.sleep(min(wait, _LONGEST_WAIT))
        raise AssertionError("unreachable")

    async def __aenter__(self) -> "Endpoint":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()
