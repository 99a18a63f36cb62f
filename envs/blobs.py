"""Bytes stored once by content hash: documents, files, tables, raw observations.

Owns the reference (`Blob`), the protocol, and the in-memory store that tests use. The stores that keep
bytes (a folder, S3) are on the rollout floor.
"""

import hashlib
from typing import Protocol

from envs.frozen import Frozen


class Blob(Frozen):
    """A reference to stored bytes. `size` counts raw bytes; `encoding` is None where the bytes are not text."""

    hash: str
    size: int
    media_type: str = "text/plain"
    encoding: str | None = "utf-8"


class BlobStore(Protocol):
    """Safe to call from several threads and processes. Blocking: from async code use `asyncio.to_thread`
    for anything large."""

    def put(self, data: bytes, media_type: str = "text/plain", encoding: str | None = "utf-8") -> Blob:
        """Store the bytes durably before returning; storing the same bytes again is cheap and harmless."""
        ...

    def get(self, hash: str) -> bytes:
        """The raw bytes. Raises `BlobMissing`."""
        ...

    def has(self, hash: str) -> bool: ...


class BlobMissing(KeyError):
    """No blob with this hash is in the store."""


def blob_of(data: bytes, media_type: str = "text/plain", encoding: str | None = "utf-8") -> Blob:
    """The reference that a store would return for these bytes."""
    return Blob(hash=hashlib.sha256(data).hexdigest(), size=len(data), media_type=media_type, encoding=encoding)


class MemoryBlobs:
    """A `BlobStore` in a dictionary."""

    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}

    def put(self, data: bytes, media_type: str = "text/plain", encoding: str | None = "utf-8") -> Blob:
        blob = blob_of(data, media_type, encoding)
        self._bytes[blob.hash] = data
        return blob

    def get(self, hash: str) -> bytes:
        try:
            return self._bytes[hash]
        except KeyError:
            raise BlobMissing(hash) from None

    def has(self, hash: str) -> bool:
        return hash in self._bytes
