"""One OpenAI-compatible chat endpoint, at little more cost than its bytes.

The history arrives serialised and is written as it lies, so that JSON work is done once for each message and no
whole body is ever held.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

from envs.retry_after import retry_after
from rollout.model import CHUNK, Conversation, ModelRefused, Reply, TimeExceeded
from rollout.reply import NoCompletion, failure, read_reply
from rollout.retry import BACKOFF, Backoff, Trouble, persist

OURS = frozenset({"model", "messages", "tools", "stream", "n"})
"""Request fields that sampling may not set."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds. `total` runs from the first byte sent to the last one received."""

    connect: float = 10.0
    total: float = 600.0


TIMEOUTS = Timeouts()


def new_http() -> aiohttp.ClientSession:
    """A transport for any number of endpoints and connections; who makes it closes it. Needs a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=("User-Agent", "Accept"),
    )


class ChatClient:
    """A `Model` behind one base URL. Use as `async with`, or hand in the transport that a pool shares."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        timeouts: Timeouts = TIMEOUTS,
        backoff: Backoff = BACKOFF,
        http: aiohttp.ClientSession | None = None,
    ) -> None:
        self.name = model
        self.endpoint, url = addresses(base_url)
        self._url = url.with_user(None) / "chat/completions"
        self._headers = {"Content-Type": "application/json"}
        self._secrets = tuple(s.encode() for s in (api_key, url.password) if s)
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        elif url.user:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(url.user, url.password or "")
        self._timeouts = timeouts
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect)
        self._backoff = backoff
        self._http = http
        self._owns_http = http is None

    def __repr__(self) -> str:
        return f"ChatClient({self.endpoint!r}, {self.name!r})"

    async def __aenter__(self) -> "ChatClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._owns_http and self._http is not None:
            await self._http.close()

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        return await persist(
            lambda: self.send(conversation, sampling),
            self._backoff,
            chance=random.random,
            clock=time.monotonic,
            sleep=asyncio.sleep,
        )

    async def send(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        """One request. Raises `Trouble` where another may fare better, else as `complete` does."""
        head = request_head(self.name, conversation, sampling)
        left, total = conversation.seconds_left, self._timeouts.total
        began = time.monotonic()
        try:
            async with asyncio.timeout(total if left is None else min(left, total)):
                status, after, body = await self._post(Body(head, conversation.chunks))
        except aiohttp.ConnectionTimeoutError:
            raise Trouble("connection", f"{self.endpoint}: no connection in {self._timeouts.connect:g} s") from None
        except TimeoutError:
            if left is not None and left < total:
                raise TimeExceeded(f"{self.endpoint}: the rollout's last {left:g} s ran out in this call") from None
            raise Trouble("timeout", f"{self.endpoint}: no answer in {total:g} s") from None
        except (aiohttp.ClientError, OSError) as e:
            words = self._scrubbed(f"{self.endpoint}: {type(e).__name__}: {e}".encode()).decode()
            raise Trouble("connection", words) from None
        seconds = time.monotonic() - began
        if status == 200:
            try:
                return read_reply(body, conversation, self.endpoint, seconds)
            except NoCompletion as e:
                status = e.status
        raise failure(status, self._scrubbed(body), self.endpoint, after) from None

    async def _post(self, body: "Body") -> tuple[int, float | None, bytes]:
        self._http = self._http or new_http()
        async with self._http.post(
            self._url, data=body, headers=self._headers, timeout=self._timeout, allow_redirects=False
        ) as response:
            after = response.headers.get("Retry-After")
            return response.status, retry_after(after, time.time()) if after else None, await response.read()

    async def metrics(self, seconds: float) -> str | None:
        """The engine's Prometheus page, which stands beside its `/v1`; None where there is none."""
        self._http = self._http or new_http()
        root = self._url.parent.parent
        beside = root.parent if root.name == "v1" else root
        try:
            async with asyncio.timeout(seconds), self._http.get(beside / "metrics", headers=self._headers) as response:
                return await response.text() if response.status == 200 else None
        except (TimeoutError, aiohttp.ClientError, OSError, UnicodeDecodeError):
            return None

    def _scrubbed(self, data: bytes) -> bytes:
        """An error's words without credentials, which servers and proxies like to repeat. Never applied to
        completions: a key may be an ordinary word."""
        for secret in self._secrets:
            data = data.replace(secret, b"***")
        return data


def addresses(base_url: str) -> tuple[str, URL]:
    """The base URL to show (without credentials) and the one to use. Raises `ModelError` for what is no HTTP URL."""
    try:
        url = URL(base_url.rstrip("/"))
    except ValueError:
        url = URL()
    shown = str(url.with_user(None)) if url.host else ""
    if url.scheme not in ("http", "https") or not shown:
        raise ModelRefused(f"the base URL {shown or base_url.partition('@')[2] or base_url!r} is no http(s) URL")
    return shown, url


def request_head(model: str, conversation: Conversation, sampling: dict[str, Any]) -> bytes:
    """The request's JSON up to its messages. `extra_body` is merged, as the openai package does it."""
    fields = {**sampling, **sampling.get("extra_body", {})}
    fields.pop("extra_body", None)
    if refused := OURS & fields.keys():
        raise ModelRefused(f"sampling may not set {', '.join(sorted(refused))}")
    if not conversation.tools:
        fields = {k: v for k, v in fields.items() if k not in ("tool_choice", "parallel_tool_calls")}
    try:
        head = orjson.dumps({"model": model, **fields})[:-1]
    except TypeError as e:
        raise ModelRefused(f"sampling is not JSON: {e}") from None
    tools = b',"tools":' + conversation.tools_json if conversation.tools else b""
    return head + tools + b',"messages":['


_TAIL = b"]}"


class Body(Payload):
    """A request's JSON: the head, the messages, the closing brackets. May be written more than once."""

    _autoclose = True

    def __init__(self, head: bytes, chunks: Sequence[bytes]) -> None:
        super().__init__(chunks, content_type="application/json")
        self._head = head
        self._chunks = tuple(chunks)
        self._size = len(head) + sum(map(len, self._chunks)) + len(_TAIL)

    def pieces(self) -> Iterator[bytes]:
        """The body: large chunks as they are, small ones joined."""
        held, size = [self._head], len(self._head)
        for chunk in self._chunks:
            if size + len(chunk) >= CHUNK and held:
                yield b"".join(held)
                held, size = [], 0
            if len(chunk) >= CHUNK:
                yield chunk
            else:
                held.append(chunk)
                size += len(chunk)
        yield b"".join((*held, _TAIL))

    async def write(self, writer: AbstractStreamWriter) -> None:
        for piece in self.pieces():
            await writer.write(piece)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        await self.write(writer)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self.pieces()).decode(encoding, errors)
