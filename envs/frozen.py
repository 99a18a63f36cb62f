"""The base of every noun, and the one way they become bytes."""

import hashlib
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: immutable, compared whole, unknown fields refused. A change is `model_copy(update=...)`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: equal values give equal bytes."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=_plain)


def content_hash(value: Any) -> str:
    """sha256 of the canonical JSON, 64 lowercase hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")
