"""Fetching one page: checked hop by hop, bounded in bytes (on the wire and unpacked) and in time."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import TypeVar

import httpx

from envs.retry_after import retry_after
from envs.search.web.guard import Guard, Target

USER_AGENT = "trajc/0.1 (+research agent; respects robots.txt)"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOP_HEADERS = {
    "user-agent": USER_AGENT,
    "accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1",
    "accept-encoding": "gzip",
}


_MEMBER = b"\x1f\x8b"
"""How a gzip member begins."""

T = TypeVar("T")
Before = Callable[[Target], Awaitable[None]]
"""Raises `FetchFailed` to stop."""


class FetchFailed(Exception):
    """The page could not be had. The words may be shown to the model."""


@dataclass(frozen=True)
class Fetched:
    url: str
    """Where the redirects ended."""
    status: int
    media_type: str
    charset: str | None
    body: bytes
    retry_after: float | None = None
    """Seconds that the server asks to be left alone for."""


class _Gunzip:
    """One gzip member after another (RFC 1952); what follows the last one is no part of the page."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._rest = b""

    @property
    def whole(self) -> bool:
        return self._member.eof

    def decompress(self, chunk: bytes, most: int) -> bytes:
        """At most `most` bytes, more than 0; what lies beyond them is lost, since the page is too large then."""
        unpacked, packed, self._rest = b"", self._rest + chunk, b""
        while packed and len(unpacked) < most:
            if self._member.eof:
                if not packed.startswith(_MEMBER):
                    self._rest = packed if packed == _MEMBER[:1] else b""
                    break
                self._member = zlib.decompressobj(wbits=31)
            unpacked += self._member.decompress(packed, most - len(unpacked))
            packed = self._member.unused_data
        return unpacked


class Fetcher:
    """No cookies, no proxies of the environment, no connection kept: nothing of one page reaches another."""

    def __init__(
        self, guard: Guard, *, seconds: float = 20, max_bytes: int = 5_000_000, max_redirects: int = 5
    ) -> None:
        self._guard = guard
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._max_redirects = max_redirects
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            # By address, cookies of one site would go to another behind the same address.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx.Timeout(seconds),
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def get(self, url: str, before: Before | None = None, first: int | None = None) -> Fetched:
        """Any status is an answer. Raises `Refused`, or `FetchFailed` for time, size, redirects and connections.

        `before` is awaited before each request, redirects included, and is not on the clock. `first`: only so many
        bytes are wanted of the body, and no more are read.
        """
        left = self._seconds
        for _ in range(self._max_redirects + 1):
            target, left = await self._timed(self._guard.check(url), left)
            if before:
                await before(target)
            answer, left = await self._timed(self._hop(target, first), left)
            if isinstance(answer, Fetched):
                return answer
            url = answer
        raise FetchFailed(f"more than {self._max_redirects} redirects")

    async def _timed(self, work: Awaitable[T], left: float) -> tuple[T, float]:
        """Its result, and the seconds that are left of `left`."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await work, left - (time.monotonic() - begun)
        except TimeoutError:
            raise FetchFailed(f"no whole answer within {self._seconds:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, zlib.error, OSError, ValueError) as e:
            raise FetchFailed(f"the connection failed ({type(e).__name__})") from None

    async def _hop(self, target: Target, first: int | None) -> Fetched | str:
        """The answer, or where it redirects to. Connects to the checked address under the page's own name."""
        url = target.url
        request = self._client.build_request(
            "GET",
            url.copy_with(host=target.address),
            headers={**_HOP_HEADERS, "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii"), "timeout": self._client.timeout.as_dict()},
        )
        response = await self._client.send(request, stream=True)
        try:
            location = response.headers.get("location")
            if response.status_code in _REDIRECTS and location:
                return str(url.join(location))
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            encoding = response.headers.get("content-encoding", "").strip().lower()
            body = await self._body(response.aiter_raw(), encoding, first)
            later = retry_after(response.headers.get("retry-after"), time.time())
            return Fetched(str(url), response.status_code, media_type, response.charset_encoding, body, later)
        finally:
            await response.aclose()

    async def _body(self, chunks: AsyncIterator[bytes], encoding: str, first: int | None) -> bytes:
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise FetchFailed(f"the page is packed as {encoding[:40]!r}, which was not asked for")
        unpack = _Gunzip() if "gzip" in encoding else None
        most = self._max_bytes if first is None else first
        packed, body = 0, bytearray()
        async for chunk in chunks:
            packed += len(chunk)
            body += unpack.decompress(chunk, most + 1 - len(body)) if unpack else chunk
            if first is not None and len(body) >= first:
                return bytes(body[:first])
            if packed > most or len(body) > most:
                raise FetchFailed(f"the page is larger than {self._max_bytes} bytes")
        if unpack and packed and not unpack.whole:
            raise FetchFailed("the page ended in the middle")
        return bytes(body)

    async def __aenter__(self) -> "Fetcher":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()
