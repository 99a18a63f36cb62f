"""References to documents' texts as blobs: each text is stored once by a process, however often it comes up."""

import threading
from collections import OrderedDict

from envs.blobs import Blob, BlobStore
from envs.search.document import Document

_REMEMBERED = 200_000


class TextBlobs:
    """Safe for threads: two that meet at the same new document both store it, which is harmless."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str], Blob] = OrderedDict()
        self._lock = threading.Lock()

    def reference(self, version: str, document: Document) -> Blob:
        """Blocking: stores the text unless this process has done so for this corpus version."""
        key = (version, document.id)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                return known
        blob = self._store.put(document.text.encode())
        with self._lock:
            self._known[key] = blob
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return blob
