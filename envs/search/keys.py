"""API keys of the endpoints that the search environment asks: fit to be sent, and never shown."""

from typing import Annotated

import httpx
from pydantic import AfterValidator, SecretStr


def _sendable(key: SecretStr) -> SecretStr:
    """Without the line end that a key from a file brings along. A header takes nothing else, and the HTTP library
    shows what it refuses to send."""
    bare = key.get_secret_value().strip()
    if not (bare.isascii() and bare.isprintable()):
        raise ValueError("must be one line of printable ASCII characters")
    return SecretStr(bare)


ApiKey = Annotated[SecretStr, AfterValidator(_sendable)]


def hidden(words: str, key: SecretStr | None) -> str:
    """The words without the key: some servers repeat it in what they answer."""
    secret = key.get_secret_value() if key else ""
    return words.replace(secret, "***") if secret else words


def shown(url: str) -> str:
    """The URL without what may be secret in it: user, password, query."""
    parsed = httpx.URL(url)
    return str(parsed.copy_with(userinfo=b"", query=None, fragment=None))
