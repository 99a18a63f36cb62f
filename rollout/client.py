"""One OpenAI-compatible chat endpoint, at little more cost than its bytes.

The history arrives serialised and is written as it lies, so that JSON work is done once for each message and no
whole body is ever held.
"""

import asyncio
import random
import time
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from yarl import URL

from envs.retry_after import retry_after
from rollout.answer import Answer, TransportError
from rollout.model import Conversation, ModelRefused, Reply, TimeExceeded
from rollout.reply import NoCompletion, failure, moved, read_reply, server_words
from rollout.retry import BACKOFF, Backoff, Trouble, persist
from rollout.transport import ConnectTimeout, Origin, Transport, header_safe

OURS = frozenset({"model", "messages", "tools", "stream", "n"})
"""Request fields that sampling may not set."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds. `total` runs from the first byte sent to the last one received."""

    connect: float = 10.0
    total: float = 600.0


TIMEOUTS = Timeouts()


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
        http: Transport | None = None,
    ) -> None:
        self.name = model
        self.endpoint, url = addresses(base_url)
        user, password = url.user, url.password
        url = url.with_user(None).with_fragment(None)
        self._origin = Origin(url.raw_host or "", url.port or 0, url.scheme == "https")
        beside = url.parent if url.name == "v1" else url
        self._metrics_path = (beside / "metrics").raw_path_qs
        basic = b64encode(f"{user}:{password or ''}".encode()).decode() if user else ""
        self._headers = b"Host: %s\r\n%s" % (
            (url.host_port_subcomponent or "").encode(),
            self._authorization(api_key, basic),
        )
        self._post_head = b"POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\n" % (
            (url / "chat/completions").raw_path_qs.encode(),
            self._headers,
        )
        self._secrets = tuple(s for s in (api_key, basic, password) if s)
        self._timeouts = timeouts
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
                answer = await self._post(head, conversation)
        except ConnectTimeout:
            raise Trouble("connection", f"{self.endpoint}: no connection in {self._timeouts.connect:g} s") from None
        except TimeoutError:
            if left is not None and left < total:
                raise TimeExceeded(f"{self.endpoint}: the rollout's last {left:g} s ran out in this call") from None
            raise Trouble("timeout", f"{self.endpoint}: no answer in {total:g} s") from None
        except TransportError as e:
            raise Trouble("connection", self._scrubbed(f"{self.endpoint}: {e}")) from None
        seconds, status = time.monotonic() - began, answer.status
        if status == 200:
            try:
                return read_reply(answer.body, conversation, self.endpoint, seconds)
            except NoCompletion as e:
                status = e.status
        after = retry_after(answer.header(b"retry-after"), time.time())
        there = answer.header(b"location") if 300 <= status < 400 else None
        words = server_words(answer.body) if there is None else moved(there)
        raise failure(status, self._scrubbed(words), self.endpoint, after) from None

    async def _post(self, head: bytes, conversation: Conversation) -> Answer:
        whole = b"%sContent-Length: %d\r\n\r\n%s" % (self._post_head, body_size(head, conversation), head)
        return await self._ask(body_pieces(whole, conversation))

    async def _ask(self, pieces: Iterable[bytes]) -> Answer:
        self._http = self._http or Transport()
        return await self._http.ask(self._origin, pieces, self._timeouts.connect)

    async def metrics(self, seconds: float) -> str | None:
        """The engine's Prometheus page, which stands beside its `/v1`; None where there is none."""
        request = b"GET %s HTTP/1.1\r\n%s\r\n" % (self._metrics_path.encode(), self._headers)
        try:
            async with asyncio.timeout(seconds):
                answer = await self._ask([request])
            return answer.body.decode() if answer.status == 200 else None
        except (TimeoutError, TransportError, UnicodeDecodeError):
            return None

    def _authorization(self, api_key: str | None, basic: str) -> bytes:
        """Raises `ModelRefused` for a key that no header can carry."""
        if api_key and not header_safe(api_key):
            raise ModelRefused(f"the API key of {self.endpoint} holds characters that no HTTP header can carry")
        if api_key:
            return f"Authorization: Bearer {api_key}\r\n".encode("latin-1")
        return f"Authorization: Basic {basic}\r\n".encode() if basic else b""

    def _scrubbed(self, words: str) -> str:
        """An error's words without credentials, which servers and proxies like to repeat: as words, since JSON has
        many ways to write a key. Never applied to completions: a key may be an ordinary word."""
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return words


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
    extra = sampling.get("extra_body") or {}
    if not isinstance(extra, dict):
        raise ModelRefused(f"sampling.extra_body is a JSON object, not {type(extra).__name__}")
    fields = {**sampling, **extra}
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


def body_size(head: bytes, conversation: Conversation) -> int:
    return len(head) + conversation.size + len(_TAIL)


def body_pieces(head: bytes, conversation: Conversation) -> Sequence[bytes]:
    """The head, the messages, the closing brackets: what is large as it lies, what is small in one piece."""
    if not conversation.joined:
        return (b"".join((head, *conversation.loose, _TAIL)),)
    return (head, *conversation.joined, b"".join((*conversation.loose, _TAIL)))
