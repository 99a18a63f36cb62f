"""Sources become rendered, hashed, counted texts; what is known already is not rendered again."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from compiler.errors import CompileError
from compiler.evidence import Found
from compiler.example import Piece
from compiler.renderings import Rendering, Renderings
from compiler.sketch import VERSION as SKETCH_VERSION
from compiler.sketch import sketch
from compiler.tokens import Tokenizer
from compiler.transforms import NEUTRALISE, Step, Undecodable, apply, decode, neutralise
from envs.blobs import BlobMissing, BlobStore


class Rendered(NamedTuple):
    found: Found
    steps: tuple[Step, ...]
    known: Rendering


class Renderer:
    """For one caller at a time. Keeps recently placed texts, up to `keep` characters.

    `threads` share the work of `prefetch`: tokenizers leave other threads running.
    """

    def __init__(
        self,
        blobs: BlobStore,
        tokenizer: Tokenizer,
        known: Renderings,
        threads: Executor | None = None,
        keep: int = 64 << 20,
    ):
        self._threads = threads
        self.blobs = blobs
        self.tokenizer = tokenizer
        self._unknown = sorted(token for token in tokenizer.special if not neutralise(token).found)
        self.count = lru_cache(maxsize=512)(tokenizer.count)
        """Of short texts that come again, such as the template's."""
        kind = f"{tokenizer.identity}\0{NEUTRALISE.version}\0{SKETCH_VERSION}\0"
        self._key = lru_cache(maxsize=4096)(lambda named: _digest(kind + named))
        self._known = known
        self._keep = keep
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._size = 0

    def render(self, found: Found) -> Rendered:
        """Raises `Undecodable` or `BlobMissing`."""
        key = self._key(found.named)
        known = self._known.get(key)
        if known is None:
            known = self._fresh(found)
            self._known.put(key, known)
        return Rendered(found, (found.step, NEUTRALISE) if known.neutralised else (found.step,), known)

    def prefetch(self, sources: Sequence[Found]) -> None:
        """Make what `render` will be asked for known, several at once. What fails here fails there again."""
        if self._threads is not None:
            unknown = [s for s in sources if self._known.get(self._key(s.named)) is None]
            for _ in self._threads.map(self._try, unknown):
                pass

    def _try(self, source: Found) -> None:
        with suppress(Undecodable, BlobMissing):
            self.render(source)

    def _fresh(self, found: Found) -> Rendering:
        raw = self.blobs.get(found.blob)
        text, neutralised = neutralise(apply(found.step, decode(raw, found.encoding)))
        self.check(text)
        data = text.encode()
        return Rendering(
            hash=hashlib.sha256(data).hexdigest(),
            size=len(data),
            tokens=self.tokenizer.count(text),
            neutralised=neutralised,
            blank=not raw.strip(),
            sketch=sketch(data),
        )

    def check(self, text: str) -> None:
        """Raises `Undecodable` where neutralised text would steer a model after all."""
        if left := [token for token in self._unknown if token in text]:
            raise Undecodable(f"holds {left[0]!r}, a special token of the tokenizer that no transform neutralises")

    def text(self, piece: Piece) -> str:
        """The bytes that the piece stands for. Raises `CompileError` where its blob is gone or is another one."""
        return self._text(piece.rendered, piece.blob, piece.encoding, piece.steps)

    def text_of(self, rendered: Rendered) -> str:
        return self._text(rendered.known.hash, rendered.found.blob, rendered.found.encoding, rendered.steps)

    def _text(self, hash: str, blob: str, encoding: str | None, steps: tuple[Step, ...]) -> str:
        kept = self._texts.get(hash)
        if kept is not None:
            self._texts.move_to_end(hash)
            return kept
        try:
            text = decode(self.blobs.get(blob), encoding)
        except (KeyError, ValueError) as e:
            raise CompileError(f"blob {blob} cannot be read any more: {e}") from e
        for step in steps:
            text = apply(step, text)
        self._texts[hash] = text
        self._size += len(text)
        while self._size > self._keep:
            self._size -= len(self._texts.popitem(last=False)[1])
        return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
