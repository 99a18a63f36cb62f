"""Blobs in a folder, local or shared: one file a hash, zstd inside, safe for many processes at once.

A file appears under its name only when it is whole (temporary file, then rename), so a reader never meets
half a blob, and two writers of the same bytes cannot hurt each other.
"""

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import zstandard

from envs.blobs import Blob, BlobMissing, blob_of


class BlobCorrupt(OSError):
    """A stored file no longer holds the bytes that it is named after."""


class FolderBlobs:
    """A `BlobStore` below `root`: `ab/cdef....zst`.

    With `fsync` a blob survives the loss of power once `put` returned; without it, the death of every process.
    """

    def __init__(self, root: Path, *, fsync: bool = True, level: int = 3) -> None:
        self.root = root
        self._fsync = fsync
        self._level = level

    def put(self, data: bytes, media_type: str = "text/plain", encoding: str | None = "utf-8") -> Blob:
        blob = blob_of(data, media_type, encoding)
        path = self._path(blob.hash)
        if not path.exists():
            self._write(path, zstandard.ZstdCompressor(level=self._level, write_content_size=True).compress(data))
        return blob

    def get(self, hash: str) -> bytes:
        """Raises `BlobMissing`, or `BlobCorrupt` where the file does not hold what its name says."""
        path = self._path(hash)
        try:
            packed = path.read_bytes()
        except FileNotFoundError:
            raise BlobMissing(hash) from None
        try:
            data = zstandard.ZstdDecompressor().decompress(packed)
        except zstandard.ZstdError as e:
            raise BlobCorrupt(f"blob {hash}: {path} is no whole zstd file ({e}); {_MEND}") from None
        found = hashlib.sha256(data).hexdigest()
        if found != hash:
            raise BlobCorrupt(f"blob {hash}: {path} holds bytes with sha256 {found}; {_MEND}")
        return data

    def has(self, hash: str) -> bool:
        return self._path(hash).exists()

    def hashes(self) -> Iterator[str]:
        """Every stored hash, in no order."""
        for path in self.root.glob("??/*.zst"):
            yield path.parent.name + path.name.removesuffix(".zst")

    def delete(self, hash: str) -> None:
        """Remove one blob; the caller knows that nothing refers to it. Raises `BlobMissing`."""
        try:
            self._path(hash).unlink()
        except FileNotFoundError:
            raise BlobMissing(hash) from None

    def remove_unfinished(self) -> int:
        """Remove what killed writers left a day ago or earlier: nobody writes for so long. Returns how many."""
        removed = 0
        for path in self.root.glob(f"{_PUT}*"):
            with contextlib.suppress(FileNotFoundError):  # its writer, or another process that tidies
                if time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, hash: str) -> Path:
        if len(hash) != 64 or not set(hash) <= _HEX:
            raise BlobMissing(hash)  # never a path made of something else than a hash
        return self.root / hash[:2] / f"{hash[2:]}.zst"

    def _write(self, path: Path, packed: bytes) -> None:
        """By way of a new file in `root`: a file system may take a hundred times as long for one in a new folder."""
        new = self.root / f"{_PUT}{secrets.token_hex(8)}"
        try:
            handle = os.open(new, _NEW, 0o644)
        except FileNotFoundError:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(new, _NEW, 0o644)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o644)  # whatever the umask: workers of other users read it too
                file.write(packed)
                if self._fsync:
                    file.flush()
                    os.fsync(handle)
            fresh = not self._renamed(new, path)
            if fresh:
                path.parent.mkdir(exist_ok=True)
                os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise
        if self._fsync:
            _sync_folder(path.parent)
            if fresh:
                _sync_folder(self.root)

    def _renamed(self, new: Path, path: Path) -> bool:
        """False where the folder is not there yet."""
        try:
            os.replace(new, path)
        except FileNotFoundError:
            return False
        return True


def _sync_folder(folder: Path) -> None:
    """A rename is durable only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_PUT = ".put-"
_DAY = 86400.0
_HEX = frozenset("0123456789abcdef")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_MEND = "delete the file and store the bytes again, or restore it from a backup"
