"""Which API key goes to which model endpoint. Keys stand in settings and in a file, never in the database."""

import logging
from functools import lru_cache
from pathlib import Path

import orjson

from api.settings import Settings

log = logging.getLogger(__name__)


def key_for(settings: Settings, url: str) -> str | None:
    """That of the key file where it names the endpoint. The service's model key goes to the endpoints of its own
    settings; to one that a caller names it goes only while the service has no callers but its owner (no API keys,
    loopback alone)."""
    url = url.rstrip("/")
    for base, key in sorted(keys_in(settings.model_keys).items(), reverse=True):
        if url == base or url.startswith(f"{base}/"):
            return key
    if settings.model_key is None:
        return None
    ours = url in settings.base_url or not settings.api_keys
    return settings.model_key.get_secret_value() if ours else None


def keys_in(path: Path | None) -> dict[str, str]:
    """By base URL. A file that cannot be read now is complained of once, and counts as it last was: perhaps it is just
    being written, and an endpoint would get no key meanwhile, or another's."""
    if path is None:
        return {}
    try:
        found = _read(path, path.stat().st_mtime_ns)
    except OSError as e:
        found = _unread(path, 0, e.strerror or str(e))
    if found is not None:
        _known[path] = found
    return _known.get(path, {})


_known: dict[Path, dict[str, str]] = {}
"""What files held when they could last be read."""


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> dict[str, str] | None:
    try:
        found = orjson.loads(path.read_bytes())
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found.values()):
            raise ValueError("it is no object of base URLs and keys")
    except (OSError, ValueError) as e:
        return _unread(path, changed, type(e).__name__ if isinstance(e, orjson.JSONDecodeError) else str(e))
    return {base.rstrip("/"): key for base, key in found.items()}


@lru_cache(maxsize=4)
def _unread(path: Path, changed: int, words: str) -> None:  # noqa: ARG001 - a change is worth another word
    log.error("TRAJC_MODEL_KEYS: %s cannot be read: %s", path, words)
