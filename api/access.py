"""Who may call: bearer keys in constant time, loopback alone without keys, no writing from foreign pages."""

import base64
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem
from api.settings import LOOPBACK

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""For probes, which carry no keys. They tell nothing but up or down."""


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The dashboard's own script and style, and nothing else of anybody."""


class Access:
    """ASGI middleware. A browser may show a key as the password of HTTP Basic, so that the dashboard opens."""

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr]) -> None:
        self.app = app
        self.keys = tuple(key.get_secret_value().encode() for key in keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self.refuse(scope["method"], scope["path"], Headers(scope=scope))
            if refusal is not None:
                challenge = {"WWW-Authenticate": 'Bearer, Basic realm="trajc"'} if refusal.status == 401 else None
                await refusal.response(challenge)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def refuse(self, method: str, path: str, headers: Headers) -> Problem | None:
        """None for a welcome caller."""
        if path in OPEN_PATHS:
            return None
        if not self.keys and hostname(headers.get("host", "")) not in LOOPBACK:
            return Problem(
                403,
                "foreign-host",
                "this service has no API keys and answers on loopback alone; set TRAJC_API_KEYS to open it to others",
            )
        if method not in ("GET", "HEAD", "OPTIONS") and is_foreign(headers):
            return Problem(403, "foreign-page", "a page of another origin may not write here")
        if self.keys and not self.is_known(shown_keys(headers.get("authorization", ""))):
            return Problem(401, "no-key", "send `Authorization: Bearer KEY` with one of the service's TRAJC_API_KEYS")
        return None

    def is_known(self, shown: Sequence[bytes]) -> bool:
        """Compares with every key, so that the time taken tells nothing."""
        return sum(hmac.compare_digest(one, key) for one in shown for key in self.keys) > 0


class SafeHeaders:
    """ASGI middleware: what an agent wrote stays text, whatever it says; no page of others frames ours."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Content-Security-Policy", POLICY)
            await send(message)

        await self.app(scope, receive, sending)


def shown_keys(authorization: str) -> tuple[bytes, ...]:
    """The key that is shown, as each of the bytes that it may be. A header's bytes come as Latin-1; most callers write
    UTF-8 there, some Latin-1."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1"), value.strip().encode()
    if scheme.lower() == "basic":
        try:
            return (base64.b64decode(value, validate=True).partition(b":")[2],)
        except ValueError:
            return ()
    return ()


def is_foreign(headers: Headers) -> bool:
    """A browser names the page that a request comes from; other programs send no Origin."""
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != headers.get("host", "")
    except ValueError:
        return True


def hostname(host: str) -> str:
    """Empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
