"""One document of a corpus, and what tells two states of it apart."""

from hashlib import blake2b
from typing import NamedTuple

import orjson

from envs.errors import TaskError


class CorpusError(TaskError):
    """A corpus, its source or its name is wrong. The words name the place and the way out."""


class Document(NamedTuple):
    """A tuple rather than a model: a corpus has millions, and each is made once for every indexing run."""

    id: str
    title: str
    text: str
    url: str | None = None
    source: str | None = None
    """Where it was taken from: a data set, a site."""
    licence: str | None = None


def packed(document: Document) -> bytes:
    """The document as bytes: what the index stores."""
    return orjson.dumps(tuple(document))


def unpacked(data: bytes) -> Document:
    return Document(*orjson.loads(data))


def fingerprint(pack: bytes) -> bytes:
    """16 bytes over a packed document."""
    return blake2b(pack, digest_size=16).digest()


def clean(text: str) -> str:
    """The text with what no UTF-8 file can hold (lone surrogates) replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
