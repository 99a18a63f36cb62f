"""Sources become rendered, hashed and counted texts, each done once while it is in reach."""

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from compiler.counts import Counts
from compiler.evidence import Found
from compiler.tokens import Tokenizer
from compiler.transforms import Step, render
from envs.blobs import BlobStore


class Rendered(NamedTuple):
    found: Found
    text: str
    size: int
    """Bytes of UTF-8."""
    hash: str
    tokens: int
    steps: tuple[Step, ...]
    neutralised: tuple[str, ...]
    blank: bool


class Renderer:
    """For one thread. Keeps the texts of recently used sources, up to `keep` bytes."""

    def __init__(self, blobs: BlobStore, tokenizer: Tokenizer, counts: Counts, keep: int = 128 << 20):
        self.blobs = blobs
        self.tokenizer = tokenizer
        self._counts = counts
        self._keep = keep
        self._kept: OrderedDict[tuple[str, str], Rendered] = OrderedDict()
        self._size = 0

    def render(self, found: Found) -> Rendered:
        """Raises `Undecodable` or `BlobMissing`."""
        key = (found.blob, found.step.model_dump_json())
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept._replace(found=found)
        data = self.blobs.get(found.blob)
        text, steps, neutralised = render(data, found.encoding, found.step)
        raw = text.encode()
        digest = hashlib.sha256(raw).hexdigest()
        rendered = Rendered(
            found, text, len(raw), digest, self.count(text, digest), steps, neutralised, not data.strip()
        )
        self._kept[key] = rendered
        self._size += len(raw)
        while self._size > self._keep:
            self._size -= self._kept.popitem(last=False)[1].size
        return rendered

    def count(self, text: str, digest: str) -> int:
        known = self._counts.get(self.tokenizer.identity, digest)
        if known is None:
            known = self.tokenizer.count(text)
            self._counts.put(self.tokenizer.identity, digest, known)
        return known
