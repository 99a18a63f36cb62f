"""References to documents' texts as blobs: each text is stored once by a process, however often it comes up."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from envs.blobs import Blob, BlobStore, blob_of
from envs.search.document import Document

_REMEMBERED = 200_000
_WRITERS = 16
"""Threads, of which each waits for the disk most of the time."""


class TextBlobs:
    """Safe for threads: two that meet at the same new document both store it, which is harmless."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str], Blob] = OrderedDict()
        self._lock = threading.Lock()
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="texts")

    def reference(self, version: str, document: Document, new: list[Document]) -> Blob:
        """Touches no disk: a text that this process has not stored for this corpus version joins `new`, for `store`."""
        key = (version, document.id)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                return known
        new.append(document)
        return blob_of(document.text.encode())

    async def store(self, version: str, new: Sequence[Document]) -> None:
        """Durably, before what refers to the texts is given away."""
        if new:
            await asyncio.get_running_loop().run_in_executor(self._writers, self._write, version, new)

    def close(self) -> None:
        self._writers.shutdown(wait=True, cancel_futures=True)

    def _write(self, version: str, new: Sequence[Document]) -> None:
        for document in new:
            blob = self._store.put(document.text.encode())
            with self._lock:
                self._known[version, document.id] = blob
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
